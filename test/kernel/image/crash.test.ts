// Killed at any step of a pull or removal: the next start finds a whole image or none, and the retry works.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, test, type TestContext } from "node:test";
import { startStaticRegistry, type StaticRegistry } from "../../support/static-registry.ts";
import { requires } from "../../support/requires.ts";
import { buildImage, buildLayer } from "../../support/test-image.ts";
import { openImages, remainsOf } from "./open-images.ts";

describe("a daemon that is killed", requires("root"), () => {
  let registry: StaticRegistry;
  let reference = "";

  before(async () => {
    registry = await startStaticRegistry();
    const contents = ["a", "b", "c"];
    const layers = await Promise.all(contents.map((content) => buildLayer([{ name: content, content }])));
    reference = registry.add("app", "1", buildImage(layers));
  });

  after(() => registry.close());

  const run = async (
    root: string,
    verb: string,
    failpoint: string,
  ): Promise<NodeJS.Signals | number | null> => {
    const script = path.join(import.meta.dirname, "pull-once.ts");
    const child = spawn(
      process.execPath,
      ["--import", "tsx", script, root, registry.address, verb, reference],
      {
        env: { ...process.env, CRICKET_FAILPOINT: failpoint },
        stdio: ["ignore", "inherit", "inherit"],
      },
    );
    const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
    return signal ?? code;
  };

  const root = (t: TestContext): string => {
    const directory = fs.mkdtempSync("/var/tmp/cricket-crash-");
    t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
    return directory;
  };

  for (const [failpoint, isThere] of [
    ["pull-image/layer", false],
    ["pull-image/layers", false],
    ["pull-image/record", true],
  ] as const)
    test(`at ${failpoint} leaves ${isThere ? "the whole image" : "nothing"}`, async (t) => {
      const directory = root(t);
      assert.equal(await run(directory, "pull", `${failpoint}:kill`), "SIGKILL");
      const { images, layers } = await openImages(directory, registry.address);
      assert.equal(images.status(reference) !== undefined, isThere);
      if (!isThere) assert.deepEqual(await remainsOf(directory, layers), []);
      await images.pull({ reference });
      const { chainIds } = images.resolveForContainer(reference);
      const files = chainIds.flatMap((chainId) => fs.readdirSync(layers.path(chainId)));
      assert.deepEqual(files, ["a", "b", "c"]);
      await layers.close();
    });

  test("at remove-image/record leaves nothing", async (t) => {
    const directory = root(t);
    assert.equal(await run(directory, "pull", ""), 0);
    assert.equal(await run(directory, "remove", "remove-image/record:kill"), "SIGKILL");
    const { images, layers } = await openImages(directory, registry.address);
    assert.deepEqual(images.list(), []);
    assert.deepEqual(await remainsOf(directory, layers), []);
    await layers.close();
  });
});

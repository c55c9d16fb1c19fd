import assert from "node:assert/strict";
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import {
  prepareContainerLayer,
  removeContainerLayer,
  sweepContainerLayers,
} from "../../../src/snapshot/container-layer.ts";
import { createOverlay } from "../../../src/snapshot/overlay.ts";
import { requires } from "../../support/requires.ts";

describe("container layers", requires("root", "overlay"), () => {
  let root = "";
  beforeEach(() => {
    root = join(mkdtempSync("/var/lib/cricket-container-layer-"), "containers");
  });
  afterEach(() => rmSync(join(root, ".."), { recursive: true }));

  const emptied = async (): Promise<void> => {
    for (let turn = 0; turn < 500 && readdirSync(join(root, ".trash")).length > 0; turn++) await delay(10);
    assert.deepEqual(readdirSync(join(root, ".trash")), []);
  };

  test("are private, and the same when prepared twice", () => {
    const layer = prepareContainerLayer(root, "one");
    writeFileSync(join(layer.upper, "f"), "x");
    assert.deepEqual(prepareContainerLayer(root, "one"), layer);
    assert.deepEqual(readdirSync(layer.upper), ["f"]);
    const mode = (path: string): number => lstatSync(path).mode & 0o777;
    assert.deepEqual([join(root, "one"), layer.upper].map(mode), [0o700, 0o755]);
  });

  test("can be mounted again after a volatile mount", () => {
    const lower = join(root, "lower");
    mkdirSync(lower, { recursive: true });
    for (let turn = 0; turn < 2; turn++)
      closeSync(createOverlay({ lowers: [lower], ...prepareContainerLayer(root, "one") }));
  });

  test("go at once and are deleted later, also while they are mounted", async () => {
    const lower = join(root, "lower");
    mkdirSync(lower, { recursive: true });
    const layer = prepareContainerLayer(root, "one");
    const mount = createOverlay({ lowers: [lower], ...layer });
    mkdirSync(`/proc/self/fd/${mount}/a/b`, { recursive: true });
    writeFileSync(`/proc/self/fd/${mount}/a/b/f`, "x");
    await removeContainerLayer(root, "one");
    assert.equal(existsSync(join(root, "one")), false);
    closeSync(mount);
    await removeContainerLayer(root, "one");
    await removeContainerLayer(root, "never-there");
    await emptied();
  });

  test("without a container are swept, with what earlier deletions left", async () => {
    for (const id of ["kept", "orphan"]) prepareContainerLayer(root, id);
    mkdirSync(join(root, ".trash", "left", "upper"), { recursive: true });
    await sweepContainerLayers(root, new Set(["kept"]));
    assert.deepEqual(readdirSync(root).toSorted(), [".trash", "kept"]);
    await emptied();
  });

  test("sweep an empty root", async () => {
    await sweepContainerLayers(root, new Set());
    assert.equal(lstatSync(root).mode & 0o777, 0o700);
  });

  test("take no id that is a path", async () => {
    for (const id of ["", ".", "..", "../x", "a/b", ".trash"]) {
      assert.throws(() => prepareContainerLayer(root, id), { code: "invalid-argument" }, id);
      await assert.rejects(removeContainerLayer(root, id), { code: "invalid-argument" }, id);
    }
  });
});

// Pulls from Debian's docker-registry into the real layer store, and what is on disk afterwards.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import type { ImageService } from "../../../src/image/image-service.ts";
import type { OpenLayerStore } from "../../../src/snapshot/open-layer-store.ts";
import { startRegistry, type Registry } from "../../support/registry.ts";
import { requires } from "../../support/requires.ts";
import {
  buildImage,
  buildIndex,
  buildLayer,
  thisArchitecture,
  type LayerEntry,
} from "../../support/test-image.ts";
import { openImages, remainsOf } from "./open-images.ts";

const needs = requires("root", "package:docker-registry", "package:skopeo", "package:zstd");

const base: LayerEntry[] = [
  { name: "etc", type: "directory" },
  { name: "etc/old", content: "old" },
  { name: "etc/passwd", content: "root:x:0:0::/:/bin/sh\n", uid: 3, gid: 4, mode: 0o640 },
];
const middle: LayerEntry[] = [
  { name: "bin/tool", content: "tool", mode: 0o4755 },
  { name: "etc/.wh.old", content: "" },
];
const top: LayerEntry[] = [{ name: "etc/link", type: "symlink", linkname: "/etc/passwd" }];

describe("pull() into the layer store", needs, () => {
  let root = "";
  let registry: Registry;
  let layers: OpenLayerStore;
  let images: ImageService;
  const at = (...names: string[]): string => path.join(root, ...names);

  const open = async (): Promise<void> => {
    ({ images, layers } = await openImages(root, registry.address));
  };
  const remains = (): Promise<string[]> => remainsOf(root, layers);

  before(async () => {
    root = fs.mkdtempSync("/var/tmp/cricket-pull-");
    registry = await startRegistry();
    fs.writeFileSync(
      at("registries.conf"),
      `[[registry]]\nlocation = "${registry.address}"\ninsecure = true\n`,
    );
    await open();
  });

  after(async () => {
    await layers.close();
    await registry.close();
    fs.rmSync(root, { recursive: true, force: true });
  });

  test("unpacks gzip, zstd and plain layers of an index, and finds them again after a restart", async () => {
    const built = [await buildLayer(base), await buildLayer(middle, "zstd"), await buildLayer(top, "none")];
    const image = buildImage(built, { config: { Cmd: ["/bin/tool"] } });
    const index = buildIndex({
      s390x: buildImage(built, { architecture: "s390x" }),
      [thisArchitecture]: image,
    });
    const reference = await registry.push("team/app", "1", index);
    const { imageId } = await images.pull({ reference });
    assert.equal(imageId, image.imageId);

    await layers.close();
    await open();
    const resolved = images.resolveForContainer(reference);
    assert.deepEqual(resolved.config.cmd, ["/bin/tool"]);
    assert.equal(resolved.repoDigest, `${registry.address}/team/app@${index.digest}`);
    const [low = "", mid = "", high = ""] = resolved.chainIds.map((chainId) => layers.path(chainId));
    const passwd = fs.statSync(path.join(low, "etc/passwd"));
    assert.deepEqual([passwd.uid, passwd.gid, passwd.mode & 0o7777], [3, 4, 0o640]);
    assert.equal(fs.statSync(path.join(mid, "bin/tool")).mode & 0o7777, 0o4755);
    assert.equal(fs.statSync(path.join(mid, "etc/old")).isCharacterDevice(), true);
    assert.equal(fs.readlinkSync(path.join(high, "etc/link")), "/etc/passwd");
    assert.equal(fs.statSync(at("images")).mode & 0o777, 0o700);

    const { images: usage } = images.fsInfo();
    assert.ok(usage.usedBytes > 0 && usage.inodesUsed > 8);
    await images.remove(reference, new Set());
    assert.deepEqual(await remains(), []);
    assert.equal(images.fsInfo().images.usedBytes, 0);
  });

  for (const format of ["v2s2", "oci"])
    test(`pulls what skopeo pushed as ${format}, and calls it by the same digest`, async () => {
      const source = await registry.push(
        "source",
        format,
        buildImage([await buildLayer(base), await buildLayer(middle)]),
      );
      const target = `${registry.address}/copy/of:${format}`;
      const insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"];
      skopeo("copy", `--format=${format}`, ...insecure, `docker://${source}`, `docker://${target}`);
      const { imageId } = await images.pull({ reference: target });
      const inspected = skopeo("inspect", "--tls-verify=false", "--format={{.Digest}}", `docker://${target}`);
      assert.deepEqual(images.status(imageId)?.repoDigests, [
        `${registry.address}/copy/of@${inspected.trim()}`,
      ]);
      const config = skopeo("inspect", "--tls-verify=false", "--config", "--raw", `docker://${target}`);
      assert.equal(await images.describe(imageId), config.replace(/\n$/, ""));
      await images.remove(imageId, new Set());
    });

  const escapes: [string, LayerEntry[]][] = [
    [
      "a hardlink to a file of the host",
      [{ name: "stolen", type: "link", linkname: "../../../../../../etc/hostname" }],
    ],
    ["a whiteout of its own parent", [{ name: "a/.wh...", content: "" }]],
  ];
  for (const [what, entries] of escapes)
    test(`ends on ${what} and leaves nothing`, async () => {
      const image = buildImage([await buildLayer(base), await buildLayer(entries)]);
      const reference = await registry.push("evil", "1", image);
      await assert.rejects(images.pull({ reference }), (error: Error) =>
        error.message.startsWith(`pull ${reference}: `),
      );
      assert.deepEqual(await remains(), []);
    });

  test("keeps an escape through a symlink inside the layer", async () => {
    const mark = path.join(root, "outside");
    fs.mkdirSync(mark);
    const entries: LayerEntry[] = [
      { name: "way", type: "symlink", linkname: mark },
      { name: "way/out", content: "escaped" },
      { name: `../../../../../../..${mark}/up`, content: "escaped" },
    ];
    const reference = await registry.push("evil", "2", buildImage([await buildLayer(entries)]));
    // Refused or contained: both are fine, and neither reaches the host.
    await images.pull({ reference }).catch(() => {});
    assert.deepEqual(fs.readdirSync(mark), []);
    await images.remove(reference, new Set());
    assert.deepEqual(await remains(), []);
  });

  test("aborted in the middle leaves nothing on disk", async () => {
    const content = Buffer.alloc(3_000_000, "abcdefgh0123456789");
    const big = await Promise.all([1, 2, 3].map((n) => buildLayer([{ name: `f${n}`, content }], "none")));
    const reference = await registry.push("big", "1", buildImage(big));
    const stop = new AbortController();
    const onProgress = (event: { phase: string; layer?: { doneBytes: number } }): void => {
      if (event.phase === "layer" && (event.layer?.doneBytes ?? 0) > 500_000) stop.abort();
    };
    await assert.rejects(images.pull({ reference, onProgress, signal: stop.signal }), { code: "cancelled" });
    assert.deepEqual(await remains(), []);
    await images.pull({ reference });
    await images.remove(reference, new Set());
  });
});

function skopeo(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync("skopeo", args, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout;
}

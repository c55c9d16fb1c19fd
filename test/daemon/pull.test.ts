// Pulls of every kind of image from Debian's docker-registry, a registry that others wrote.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, it } from "node:test";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { startRegistry, type Registry } from "../support/registry.ts";
import { requires } from "../support/requires.ts";
import {
  buildImage,
  buildIndex,
  buildLayer,
  busyboxEntries,
  thisArchitecture,
  type LayerEntry,
  type TestImage,
} from "../support/test-image.ts";
import { runInPod } from "../support/run-in-pod.ts";

const needs = requires("root", "package:docker-registry", "package:busybox-static");

describe("PullImage from docker-registry", needs, () => {
  let registry: Registry;
  let daemon: TestDaemon;

  before(async () => {
    registry = await startRegistry();
    daemon = await startDaemon({ registries: [registry.address] });
  });
  after(async () => {
    try {
      await daemon.close();
    } finally {
      await registry.close();
    }
  });

  /** Pushes, pulls, and gives what `script` prints in a container of the image. */
  async function pullAndRun(tag: string, image: TestImage, script: string): Promise<string> {
    const reference = await registry.push("test/image", tag, image);
    const { imageRef } = await daemon.client.image.pullImage({ image: { image: reference } });
    assert.equal(imageRef, image.imageId);
    const { log } = await runInPod(daemon, { image: reference, command: ["sh", "-c", script] });
    return log;
  }

  it("takes an OCI image with gzip layers", async () => {
    const image = buildImage([await buildLayer(busyboxEntries())]);
    assert.equal(await pullAndRun("gzip", image, "echo out; id -u"), "out\n0\n");
  });

  it("takes a Docker image of schema 2", async () => {
    const image = buildImage([await buildLayer(busyboxEntries())], { flavor: "docker" });
    assert.equal(await pullAndRun("docker", image, "echo out"), "out\n");
  });

  it("takes uncompressed layers", async () => {
    const image = buildImage([await buildLayer(busyboxEntries(), "none")]);
    assert.equal(await pullAndRun("plain", image, "echo out"), "out\n");
  });

  it("takes zstd layers", requires("package:zstd"), async () => {
    const image = buildImage([await buildLayer(busyboxEntries(), "zstd")]);
    assert.equal(await pullAndRun("zstd", image, "echo out"), "out\n");
  });

  it("takes this machine's image out of an index", async () => {
    const layers = [await buildLayer(busyboxEntries())];
    const mine = buildImage(layers, { config: { Env: ["WHICH=mine"] } });
    const other = buildImage(layers, { config: { Env: ["WHICH=other"] }, architecture: "s390x" });
    const index = buildIndex({ s390x: other, [thisArchitecture]: mine });
    assert.equal(await pullAndRun("index", index, "echo $WHICH"), "mine\n");
  });

  it("stacks layers, with whiteouts and opaque directories", async () => {
    const upper: LayerEntry[] = [
      { name: "data/.wh.gone" },
      { name: "data/changed", content: "new\n" },
      { name: "hidden/.wh..wh..opq" },
      { name: "hidden/fresh", content: "fresh\n" },
    ];
    const lower: LayerEntry[] = [
      { name: "data/gone", content: "old\n" },
      { name: "data/kept", content: "kept\n" },
      { name: "data/changed", content: "old\n" },
      { name: "hidden/stale", content: "stale\n" },
    ];
    const layers = [await buildLayer(busyboxEntries()), await buildLayer(lower), await buildLayer(upper)];
    const script = "cd /data && for f in *; do echo $f $(cat $f); done; ls /hidden";
    assert.equal(await pullAndRun("layers", buildImage(layers), script), "changed new\nkept kept\nfresh\n");
  });

  it("keeps owners, modes, hardlinks and symlinks", async () => {
    const entries: LayerEntry[] = [
      ...busyboxEntries(),
      { name: "a", content: "x", mode: 0o4750, uid: 12, gid: 34 },
      { name: "b", type: "link", linkname: "a" },
      { name: "c", type: "symlink", linkname: "a" },
    ];
    const script = "stat -c '%a %u %g %h' /a; [ /a -ef /b ] && readlink /c";
    assert.equal(
      await pullAndRun("modes", buildImage([await buildLayer(entries)]), script),
      "4750 12 34 2\na\n",
    );
  });

  it("takes what skopeo has copied", requires("package:skopeo"), async () => {
    const source = await registry.push("test/source", "1", buildImage([await buildLayer(busyboxEntries())]));
    const target = `${registry.address}/test/copied:1`;
    const copied = spawnSync(
      "skopeo",
      [
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        `docker://${source}`,
        `docker://${target}`,
      ],
      { encoding: "utf8" },
    );
    assert.equal(copied.status, 0, copied.stderr);
    await daemon.client.image.pullImage({ image: { image: target } });
    const { log } = await runInPod(daemon, { image: target, command: ["echo", "copied"] });
    assert.equal(log, "copied\n");
  });

  it("refuses an image that is not there, and leaves nothing", async () => {
    const reference = `${registry.address}/test/missing:1`;
    await assert.rejects(daemon.client.image.pullImage({ image: { image: reference } }), /missing/);
    assert.deepEqual(
      (await daemon.client.image.listImages({ filter: { image: { image: reference } } })).images,
      [],
    );
    const layers = path.join(daemon.stateRoot, "layers");
    assert.deepEqual(
      fs.readdirSync(path.join(layers, ".staging")).filter((name) => !name.startsWith(".")),
      [],
    );
  });
});

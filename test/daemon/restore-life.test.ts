// Containers from checkpoints with a criu that is none (test/support/probe/fake-criu.c): all that is around it, and what
// happens when it fails, dies, hangs or brings more than was asked for.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { toInt64 } from "../../cri-api/int64.ts";
import { buildDir, buildPrograms } from "../support/launch-fixture.ts";
import { startNode, untilExited, type TestNode, type TestPod } from "../support/node.ts";
import { requires } from "../support/requires.ts";
import { buildImage, buildLayer, type LayerEntry } from "../support/test-image.ts";

describe("a container from a checkpoint", requires("root", "overlay", "package:busybox-static"), () => {
  let node: TestNode;
  let directory: string;
  let archive: string;
  before(async () => {
    buildPrograms();
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "cricket-restore-"));
    fs.copyFileSync(path.join(buildDir, "fake-criu"), path.join(directory, "criu"));
    node = await startNode({
      env: { PATH: `${directory}:${process.env["PATH"]}` },
      settings: { "container.checkpoint_images": true },
    });
    const pod = await node.runPod("before");
    const command = ["sh", "-c", "echo first; echo new > /made; sleep 1000"];
    const containerId = await pod.start({ name: "main", command });
    while (!logOf(pod).includes("first")) await delay(10);
    archive = path.join(directory, "checkpoint.tar");
    await node.runtime.checkpointContainer({ containerId, location: archive });
    await pod.remove();
  });
  after(async () => {
    await node.close();
    fs.rmSync(directory, { recursive: true, force: true });
  });

  const logOf = (pod: TestPod): string =>
    fs.existsSync(pod.logPath("main")) ? fs.readFileSync(pod.logPath("main"), "utf8") : "";
  const setMode = (mode: string): void => fs.writeFileSync(path.join(directory, "criu.mode"), mode);
  const create = (pod: TestPod, more: v1.ContainerConfigSent = {}): Promise<string> =>
    pod.create({ name: "main", image: archive, more });

  async function startFails(mode: string, said: RegExp): Promise<void> {
    const pod = await node.runPod(mode);
    const containerId = await create(pod);
    setMode(mode);
    try {
      await assert.rejects(node.runtime.startContainer({ containerId }), said);
    } finally {
      setMode("ok");
    }
    const { reason, exitCode } = await untilExited(node, containerId);
    assert.deepEqual([reason, exitCode], ["StartError", 128]);
    assert.doesNotMatch(logOf(pod), /restored/);
    await pod.remove();
  }

  test("lives on: log, exec, restart of the daemon, stop", async () => {
    const pod = await node.runPod("life");
    const containerId = await create(pod);
    await node.daemon.restart();
    const { status } = await node.runtime.containerStatus({ containerId });
    assert.equal(status?.state, v1.ContainerState.CONTAINER_CREATED);
    assert.equal(status?.image?.image, node.image);
    await node.runtime.startContainer({ containerId });
    const { info } = await node.runtime.containerStatus({ containerId, verbose: true });
    assert.match(info["info"] ?? "", /"restored":true,"checkpointedAt":"20/);
    while (!logOf(pod).includes("restored")) await delay(10);
    assert.match(logOf(pod), / F first\n.* F restored\n$/);
    const { stdout } = await node.runtime.execSync({
      containerId,
      cmd: ["cat", "/made"],
      timeout: toInt64(9n),
    });
    assert.equal(Buffer.from(stdout).toString(), "new\n");
    await node.daemon.restart();
    await node.runtime.stopContainer({ containerId, timeout: toInt64(10n) });
    assert.equal((await untilExited(node, containerId)).exitCode, 7);
    assert.match(logOf(pod), / F bye\n$/);
    await pod.remove();
  });

  test("comes out of an image that is annotated as a checkpoint", async () => {
    const unpacked = path.join(directory, "unpacked");
    fs.mkdirSync(unpacked);
    execFileSync("tar", ["-C", unpacked, "-xf", archive]);
    const names = fs.readdirSync(unpacked, { recursive: true, encoding: "utf8" });
    const entries = names.map((name): LayerEntry => {
      const full = path.join(unpacked, name);
      return fs.statSync(full).isDirectory()
        ? { name: `${name}/`, type: "directory" }
        : { name, content: fs.readFileSync(full) };
    });
    const annotations = { "org.criu.checkpoint.container.name": "main" };
    const image = await node.pushAndPull(
      "test/checkpoint",
      buildImage([await buildLayer(entries)], { annotations }),
    );
    const pod = await node.runPod("image");
    const containerId = await pod.start({ name: "main", image });
    while (!logOf(pod).includes("restored")) await delay(10);
    const { status } = await node.runtime.containerStatus({ containerId });
    assert.equal(status?.image?.image, node.image);
    await pod.remove();
    const layers = [await buildLayer(entries), await buildLayer([{ name: "more", content: "" }])];
    const two = await node.pushAndPull("test/two-layers", buildImage(layers, { annotations }));
    const other = await node.runPod("image-two");
    await assert.rejects(other.create({ name: "main", image: two }), /it has 2 layers, not one/);
    await other.remove();
  });

  test("criu that fails is quoted", () =>
    startFails("fail", /criu restore failed: Error \(criu\/x\.c:1\): no luck/));
  test("criu that dies half-way leaves nothing", () =>
    startFails("die", /criu restore failed: criu ended without/));
  test("more than was asked for does not run", () =>
    startFails("privileged", /more than the container may have: process \d+: Cap\w+ has CAP_/));

  test("is stopped while criu hangs", async () => {
    const pod = await node.runPod("hang");
    const containerId = await create(pod);
    setMode("hang");
    const started = assert.rejects(
      node.runtime.startContainer({ containerId }),
      /stopped before it was done/,
    );
    await delay(300);
    await node.runtime.stopContainer({ containerId, timeout: toInt64(0n) });
    await started;
    setMode("ok");
    assert.equal((await untilExited(node, containerId)).reason, "StartError");
    await pod.remove();
  });

  test("a daemon that dies around the start finds it as it is", async () => {
    for (const [name, isRunning] of [
      ["start-container/restoring", false],
      ["start-container/restored", true],
    ] as const) {
      const pod = await node.runPod("killed");
      const containerId = await create(pod);
      await node.daemon.restart({ CRICKET_FAILPOINT: `${name}:kill` });
      await assert.rejects(node.runtime.startContainer({ containerId }));
      await node.daemon.ended();
      await node.daemon.start();
      if (!isRunning) await node.runtime.startContainer({ containerId });
      const { status } = await node.runtime.containerStatus({ containerId });
      assert.equal(status?.state, v1.ContainerState.CONTAINER_RUNNING, name);
      await pod.remove();
    }
  });

  test("what cannot be restored is refused before anything is made", async () => {
    const pod = await node.runPod("refused");
    const layers = (): string[] => fs.readdirSync(path.join(node.daemon.stateRoot, "containers"));
    const count = layers().length;
    await assert.rejects(pod.create({ name: "none", image: "/nowhere.tar" }), /nowhere\.tar: ENOENT/);
    const other = path.join(directory, "other.tar");
    fs.writeFileSync(other, "x".repeat(5000));
    await assert.rejects(pod.create({ name: "broken", image: other }), /checkpoint archive .*other\.tar/);
    const { containers } = await node.runtime.listContainers({});
    assert.deepEqual(containers, []);
    assert.ok(layers().filter((name) => name !== ".trash").length <= count);
    await pod.remove();
  });
});

// Whoever may make a pod names its image, and criu reads it as root.
test(
  "an image that is annotated as a checkpoint is refused unless the settings allow it",
  requires("root", "overlay", "package:busybox-static"),
  async () => {
    const node = await startNode();
    try {
      const annotations = { "org.criu.checkpoint.container.name": "main" };
      const layer = await buildLayer([{ name: "config.dump", content: "{}" }]);
      const image = await node.pushAndPull("test/checkpoint", buildImage([layer], { annotations }));
      const pod = await node.runPod("refused");
      await assert.rejects(
        pod.create({ name: "main", image }),
        /is a checkpoint, and container\.checkpoint_images does not allow any/,
      );
      await pod.remove();
    } finally {
      await node.close();
    }
  },
);

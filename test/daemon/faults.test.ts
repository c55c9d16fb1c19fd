// What goes wrong around the daemon: processes killed behind its back, a full disk, files that are in the way.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync, mkdirSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { RpcError } from "../../cri-api/client.ts";
import { toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { startNode, untilExited, type TestNode } from "../support/node.ts";
import { requires } from "../support/requires.ts";
import { buildImage, buildLayer } from "../support/test-image.ts";

const needs = requires("root", "overlay", "package:busybox-static");

interface VerboseInfo {
  pid: number;
}

const infoOf = (info: Record<string, string>): VerboseInfo => JSON.parse(info["info"] ?? "{}") as VerboseInfo;

const parentOf = (pid: number): number =>
  Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);

describe("faults", needs, () => {
  let node: TestNode;

  before(async () => {
    node = await startNode();
  });
  after(async () => {
    await node.close();
  });

  test("a monitor that is killed takes its container with it, and the status says so", async () => {
    const pod = await node.runPod("monitor");
    const containerId = await pod.start({ name: "main", command: ["sh", "-c", "sleep 1000 & sleep 1000"] });
    const { info } = await node.runtime.containerStatus({ containerId, verbose: true });
    const { pid } = infoOf(info);
    process.kill(parentOf(pid), "SIGKILL");
    const status = await untilExited(node, containerId);
    assert.deepEqual(
      { exitCode: status.exitCode, reason: status.reason },
      { exitCode: 255, reason: "Unknown" },
    );
    await delay(300);
    assert.throws(() => process.kill(pid, 0), /ESRCH/);
    await pod.remove();
  });

  test("a pause that is killed makes the sandbox not ready, and it can be removed", async () => {
    const pod = await node.runPod("pause");
    const containerId = await pod.start({ name: "main", command: ["sleep", "1000"] });
    const { info } = await node.runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true });
    process.kill(infoOf(info).pid, "SIGKILL");
    await delay(100);
    const { status } = await node.runtime.podSandboxStatus({ podSandboxId: pod.id });
    assert.equal(status?.state, v1.PodSandboxState.SANDBOX_NOTREADY);
    await assert.rejects(pod.create({ name: "late" }), /not ready/);
    await pod.remove();
    await assert.rejects(node.runtime.containerStatus({ containerId }), /does not exist/);
  });

  test("a container whose log directory cannot be made is not created, and the retry works", async () => {
    const pod = await node.runPod("nolog");
    const directory = pod.config.logDirectory ?? "";
    mkdirSync(directory.slice(0, directory.lastIndexOf("/")), { recursive: true });
    writeFileSync(directory, "in the way");
    await assert.rejects(pod.create({ name: "main" }), /EEXIST|ENOTDIR/);
    assert.deepEqual((await node.runtime.listContainers({})).containers, []);
    const { rmSync } = await import("node:fs");
    rmSync(directory);
    await pod.start({ name: "main", command: ["sleep", "1000"] });
    await pod.remove();
  });

  test("a launch that fails at a step names it and leaves nothing", async () => {
    const pod = await node.runPod("launch");
    const more = { mounts: [{ hostPath: "/etc/passwd", containerPath: "/proc/1/root" }] };
    await assert.rejects(pod.create({ name: "main", more }), (error) => {
      assert.ok(error instanceof RpcError);
      assert.match(error.message, /\/proc\/1\/root/);
      return true;
    });
    assert.deepEqual((await node.runtime.listContainers({})).containers, []);
    assert.deepEqual(readdirSync(`${node.daemon.runRoot}/containers`), []);
    // Its log neither: the kubelet would count it as a restart.
    assert.equal(existsSync(pod.logPath("main")), false);
    await pod.remove();
  });

  test("a container that is paused in the kernel's freezer still stops", async () => {
    const pod = await node.runPod("frozen");
    const containerId = await pod.start({
      name: "main",
      command: ["sh", "-c", "while :; do sleep 0.1; done"],
    });
    const { info } = await node.runtime.containerStatus({ containerId, verbose: true });
    process.kill(infoOf(info).pid, "SIGSTOP");
    await node.runtime.stopContainer({ containerId, timeout: toInt64(1n) });
    assert.equal((await untilExited(node, containerId)).exitCode, 137);
    await pod.remove();
  });
});

test("a full disk ends a pull with a clear error and leaves nothing of it", needs, async () => {
  const node = await startNode();
  try {
    await node.daemon.stop();
    const { stateRoot } = node.daemon;
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=6m", "tmpfs", `${stateRoot}/layers`]);
    try {
      await node.daemon.start();
      const content = Buffer.alloc(32 << 20, "x");
      const image = buildImage([await buildLayer([{ name: "big", content }])]);
      const reference = node.registry.add("test/big", "1", image);
      const pull = node.daemon.client.image.pullImage({ image: { image: reference } });
      await assert.rejects(pull, (error) => {
        assert.ok(error instanceof RpcError);
        assert.equal(error.status, "RESOURCE_EXHAUSTED", error.message);
        assert.match(error.message, /ENOSPC/);
        return true;
      });
      assert.deepEqual(
        (await node.daemon.client.image.listImages({ filter: { image: { image: reference } } })).images,
        [],
      );
      await node.daemon.stop();
      const left = readdirSync(`${stateRoot}/layers`).filter((name) => !name.startsWith("."));
      assert.deepEqual(left, []);
    } finally {
      await node.daemon.stop();
      execFileSync("umount", ["-l", `${stateRoot}/layers`]);
    }
  } finally {
    await node.close();
  }
});

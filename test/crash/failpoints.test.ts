// The daemon dies by SIGKILL at each named step; the next one must clean up or take over, and the retry must work.
import assert from "node:assert/strict";
import test from "node:test";
import { toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { startNode, type TestNode } from "../support/node.ts";
import { requires } from "../support/requires.ts";

const needs = requires("root", "overlay", "package:busybox-static");

/** Steps of RunPodSandbox to StartContainer, in order; `kill` at each. */
const starting = [
  "run-sandbox/intent",
  "run-sandbox/cgroups-made",
  "run-sandbox/pause-started",
  "run-sandbox/netns-pinned",
  "run-sandbox/network-attached",
  "run-sandbox/shm-mounted",
  "run-sandbox/populated",
  "run-sandbox/committed",
  "create-container/intent",
  "create-container/cgroup-reserved",
  "create-container/launched",
  "create-container/committed",
  "start-container/gate-opened",
];

const stopping = [
  "remove-container/stopped",
  "remove-container/released",
  "stop-sandbox/containers-stopped",
  "stop-sandbox/released",
  "remove-sandbox/containers-removed",
];

async function startPod(node: TestNode, name: string): Promise<{ podId: string; containerId: string }> {
  const pod = await node.runPod(name);
  const containerId = await pod.create({ name: "main", command: ["sleep", "1000"] });
  const { status } = await node.runtime.containerStatus({ containerId });
  if (status?.state === v1.ContainerState.CONTAINER_CREATED)
    await node.runtime.startContainer({ containerId });
  return { podId: pod.id, containerId };
}

async function assertRuns(node: TestNode, containerId: string): Promise<void> {
  const { status } = await node.runtime.containerStatus({ containerId });
  assert.equal(status?.state, v1.ContainerState.CONTAINER_RUNNING);
  const { stdout } = await node.runtime.execSync({
    containerId,
    cmd: ["echo", "alive"],
    timeout: toInt64(10n),
  });
  assert.equal(Buffer.from(stdout).toString(), "alive\n");
}

async function remove(node: TestNode, podId: string, containerId: string): Promise<void> {
  await node.runtime.stopContainer({ containerId, timeout: toInt64(0n) });
  await node.runtime.removeContainer({ containerId });
  await node.runtime.stopPodSandbox({ podSandboxId: podId });
  await node.runtime.removePodSandbox({ podSandboxId: podId });
}

for (const name of starting) {
  test(`a kill at ${name}: the next daemon starts the same pod`, needs, async () => {
    const node = await startNode();
    try {
      await node.daemon.restart({ CRICKET_FAILPOINT: `${name}:kill` });
      await assert.rejects(startPod(node, "crash"));
      await node.daemon.ended();
      await node.daemon.start();
      const { podId, containerId } = await startPod(node, "crash");
      await assertRuns(node, containerId);
      const { items } = await node.runtime.listPodSandbox({});
      assert.deepEqual(
        items.map(({ id }) => id),
        [podId],
      );
      await remove(node, podId, containerId);
    } finally {
      await node.close();
    }
  });

  test(`an error at ${name}: the call fails, leaves nothing, and the retry works`, needs, async () => {
    const node = await startNode();
    try {
      await node.daemon.restart({ CRICKET_FAILPOINT: `${name}:error:1` });
      await assert.rejects(startPod(node, "fault"), /failpoint/);
      const { podId, containerId } = await startPod(node, "fault");
      await assertRuns(node, containerId);
      await remove(node, podId, containerId);
    } finally {
      await node.close();
    }
  });
}

for (const name of stopping) {
  test(`a kill at ${name}: the next daemon finishes the removal`, needs, async () => {
    const node = await startNode();
    try {
      await node.daemon.restart({ CRICKET_FAILPOINT: `${name}:kill` });
      const { podId, containerId } = await startPod(node, "crash");
      await assert.rejects(remove(node, podId, containerId));
      await node.daemon.ended();
      await node.daemon.start();
      await remove(node, podId, containerId);
      assert.deepEqual((await node.runtime.listPodSandbox({})).items, []);
      assert.deepEqual((await node.runtime.listContainers({})).containers, []);
    } finally {
      await node.close();
    }
  });
}

test("a daemon that is killed and started again finds its pods as they were", needs, async () => {
  const node = await startNode();
  try {
    const pod = await node.runPod("survivor");
    const containerId = await pod.start({
      name: "main",
      command: ["sh", "-c", "echo before; trap 'echo bye; exit 3' TERM; while :; do sleep 0.05; done"],
    });
    const exitsAlone = await pod.start({ name: "alone", command: ["sh", "-c", "sleep 1; exit 7"] });
    const before = (await node.runtime.podSandboxStatus({ podSandboxId: pod.id })).status;
    await node.daemon.kill();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await node.daemon.start();
    const after = (await node.runtime.podSandboxStatus({ podSandboxId: pod.id })).status;
    assert.deepEqual(after, before);
    assert.equal(after?.state, v1.PodSandboxState.SANDBOX_READY);
    await assertRuns(node, containerId);
    const alone = (await node.runtime.containerStatus({ containerId: exitsAlone })).status;
    assert.equal(alone?.state, v1.ContainerState.CONTAINER_EXITED);
    assert.equal(alone.exitCode, 7);
    await node.runtime.stopContainer({ containerId, timeout: toInt64(10n) });
    const stopped = (await node.runtime.containerStatus({ containerId })).status;
    assert.equal(stopped?.exitCode, 3);
    const { readFileSync } = await import("node:fs");
    assert.match(readFileSync(pod.logPath("main"), "utf8"), /stdout F before\n.*stdout F bye\n/s);
  } finally {
    await node.close();
  }
});

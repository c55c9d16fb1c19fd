// How containers end, and what their status says of it: stop signals, reasons, ends that nobody saw.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { RpcError } from "../../cri-api/client.ts";
import { fromInt64, toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { startNode, untilExited, type TestNode, type TestPod } from "../support/node.ts";
import { requires } from "../support/requires.ts";
import { busyboxImage } from "../support/test-image.ts";

const { SIGUSR1, SIGUSR2, SIGTERM } = v1.Signal;

describe("ends of containers", requires("root", "overlay", "package:busybox-static"), () => {
  let node: TestNode;

  before(async () => {
    node = await startNode();
  });
  after(async () => {
    await node.close();
  });

  /** Until the container has printed `text`: its traps are set then. */
  async function untilLogged(pod: TestPod, name: string, text: string): Promise<void> {
    const deadline = Date.now() + 10_000;
    for (;;) {
      try {
        if (readFileSync(pod.logPath(name), "utf8").includes(text)) return;
      } catch {
        // Not there yet.
      }
      assert.ok(Date.now() < deadline, `${text} is not in the log`);
      await delay(20);
    }
  }

  test("kubernetes#140718: a container that lost a process to the OOM killer and is stopped is not OOMKilled", async () => {
    const pod = await node.runPod("oom-before");
    const grow = "(x=a; while :; do x=$x$x; done); trap '' TERM; echo grown; while :; do sleep 0.1; done";
    const config = pod.containerConfig({ name: "main", command: ["sh", "-c", grow] });
    config.linux = { ...config.linux, resources: { memoryLimitInBytes: toInt64(20n << 20n) } };
    const { containerId } = await node.runtime.createContainer({
      podSandboxId: pod.id,
      config,
      sandboxConfig: pod.config,
    });
    await node.runtime.startContainer({ containerId });
    await untilLogged(pod, "main", "grown");
    await node.runtime.stopContainer({ containerId, timeout: toInt64(1n) });
    const { reason, exitCode } = await untilExited(node, containerId);
    assert.deepEqual({ reason, exitCode }, { reason: "Error", exitCode: 137 });
    await pod.remove();
  });

  test("the stop signal is the CRI's, else the image's, else SIGTERM, and is reported", async () => {
    const image = await node.pushAndPull("test/stops", await busyboxImage({ StopSignal: "SIGUSR2" }));
    const pod = await node.runPod("signals");
    const script =
      "trap 'exit 1' USR1; trap 'exit 2' USR2; trap 'exit 3' TERM; echo set; while :; do sleep 0.05; done";
    const command = ["sh", "-c", script];
    const ends = async (name: string, options: object): Promise<[number, number]> => {
      const containerId = await pod.start({ name, command, ...options });
      await untilLogged(pod, name, "set");
      const { status } = await node.runtime.containerStatus({ containerId });
      await node.runtime.stopContainer({ containerId, timeout: toInt64(10n) });
      return [status?.stopSignal ?? 0, (await untilExited(node, containerId)).exitCode];
    };
    assert.deepEqual(await ends("plain", {}), [SIGTERM, 3]);
    assert.deepEqual(await ends("image", { image }), [SIGUSR2, 2]);
    assert.deepEqual(await ends("cri", { image, more: { stopSignal: SIGUSR1 } }), [SIGUSR1, 1]);
    await pod.remove();
  });

  test("a start that fails has reason StartError, code 128, an end and no beginning", async () => {
    const pod = await node.runPod("start-error");
    const containerId = await pod.create({ name: "main", command: ["/no/such/program"] });
    await assert.rejects(node.runtime.startContainer({ containerId }), RpcError);
    const { reason, exitCode, startedAt, finishedAt } = await untilExited(node, containerId);
    assert.deepEqual([reason, exitCode, fromInt64(startedAt)], ["StartError", 128, 0n]);
    assert.ok(fromInt64(finishedAt) > 0n);
    await pod.remove();
  });

  test("an end while no daemon runs is known afterwards, with its reason and its time", async () => {
    const pod = await node.runPod("unseen");
    const containerId = await pod.start({ name: "main", command: ["sh", "-c", "sleep 0.5; exit 6"] });
    const before = BigInt(Date.now()) * 1_000_000n;
    await node.daemon.kill();
    await delay(1000);
    await node.daemon.start();
    const after = BigInt(Date.now()) * 1_000_000n;
    const { reason, exitCode, finishedAt } = await untilExited(node, containerId);
    assert.deepEqual([reason, exitCode], ["Error", 6]);
    assert.ok(fromInt64(finishedAt) > before && fromInt64(finishedAt) < after);
    await pod.remove();
  });

  test("limits that were changed are in the status, also after a restart", async () => {
    const pod = await node.runPod("resized");
    const containerId = await pod.start({ name: "main", command: ["sleep", "1000"] });
    const linux = {
      memoryLimitInBytes: toInt64(48n << 20n),
      cpuShares: toInt64(700n),
      cpuQuota: toInt64(30_000n),
    };
    await node.runtime.updateContainerResources({ containerId, linux });
    const shown = async () => {
      const { status } = await node.runtime.containerStatus({ containerId });
      const set = status?.resources?.linux;
      return [set?.memoryLimitInBytes, set?.cpuQuota].map((value) => fromInt64(value));
    };
    assert.deepEqual(await shown(), [48n << 20n, 30_000n]);
    await node.daemon.restart();
    assert.deepEqual(await shown(), [48n << 20n, 30_000n]);
    await pod.remove();
  });
});

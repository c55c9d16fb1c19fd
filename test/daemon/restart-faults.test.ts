// What a daemon finds at its start that is not as it was left: a full disk, monitors that do not answer, broken records.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeSync } from "node:fs";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { errnoOf } from "../../src/base/errors.ts";
import { toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { startNode, untilExited, type TestNode } from "../support/node.ts";
import { isAlive } from "../support/processes.ts";
import { requires } from "../support/requires.ts";
import { until } from "../support/until.ts";

const needs = requires("root", "overlay", "package:busybox-static");

const parentOf = (pid: number): number =>
  Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);

async function pidOf(node: TestNode, containerId: string): Promise<number> {
  const { info } = await node.runtime.containerStatus({ containerId, verbose: true });
  return (JSON.parse(info["info"] ?? "{}") as { pid: number }).pid;
}

async function stateOf(node: TestNode, containerId: string): Promise<number | undefined> {
  return (await node.runtime.containerStatus({ containerId })).status?.state;
}

/** Writes until nothing more fits. */
function fill(path: string): void {
  const fd = openSync(path, "w");
  for (const bytes of [65_536, 1]) {
    const write = (): void => {
      for (;;) writeSync(fd, Buffer.alloc(bytes));
    };
    assert.throws(write, (error) => errnoOf(error) === "ENOSPC");
  }
  closeSync(fd);
}

describe("a start", needs, () => {
  let node: TestNode;

  before(async () => {
    node = await startNode();
  });
  after(async () => {
    await node.close();
  });

  test("waits for no monitor that does not answer, and has it when it does", async () => {
    const pod = await node.runPod("stopped");
    const hung = await pod.start({
      name: "hung",
      command: ["sh", "-c", "trap 'exit 3' USR1; while :; do sleep 0.1; done"],
    });
    const other = await pod.start({ name: "other", command: ["sleep", "1000"] });
    const pid = await pidOf(node, hung);
    const monitor = parentOf(pid);
    process.kill(monitor, "SIGSTOP");
    try {
      await node.daemon.restart();
      assert.equal(await stateOf(node, other), v1.ContainerState.CONTAINER_RUNNING);
      assert.equal(await stateOf(node, hung), v1.ContainerState.CONTAINER_RUNNING);
      assert.match(node.daemon.log(), /monitor does not answer yet/);
      await node.runtime.execSync({ containerId: other, cmd: ["true"], timeout: toInt64(10n) });
    } finally {
      process.kill(monitor, "SIGCONT");
    }
    process.kill(pid, "SIGUSR1");
    assert.equal((await untilExited(node, hung)).exitCode, 3);
    await pod.remove();
  });

  test("takes an exit file that cannot be read for one that is not there", async () => {
    const pod = await node.runPod("torn");
    const containerId = await pod.start({ name: "main", command: ["sleep", "1000"] });
    const pid = await pidOf(node, containerId);
    await node.daemon.stop();
    process.kill(pid, "SIGKILL");
    const exit = join(node.daemon.runRoot, "containers", containerId, "exit");
    await until("the monitor has written the end", () => existsSync(exit));
    truncateSync(exit, 5);
    await node.daemon.start();
    const { status } = await node.runtime.containerStatus({ containerId });
    assert.deepEqual([status?.state, status?.reason], [v1.ContainerState.CONTAINER_EXITED, "Unknown"]);
    await pod.remove();
  });

  test("removes what a sandbox has whose record cannot be read", async () => {
    const pod = await node.runPod("broken");
    const kept = await node.runPod("kept");
    const { info } = await node.runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true });
    const { pid, netns } = JSON.parse(info["info"] ?? "{}") as { pid: number; netns: string };
    await node.daemon.stop();
    const directory = join(node.daemon.runRoot, "sandboxes", pod.id);
    truncateSync(join(directory, "record.json"), 10);
    await node.daemon.start();
    const { items } = await node.runtime.listPodSandbox({});
    assert.deepEqual(
      items.map(({ id }) => id),
      [kept.id],
    );
    assert.equal(existsSync(directory), false);
    assert.equal(existsSync(netns), false);
    await until("pause has ended", () => !isAlive(pid));
    await kept.remove();
  });
});

test("a daemon starts on a full disk and tells what has happened", needs, async () => {
  const node = await startNode();
  try {
    await node.daemon.stop();
    const { runRoot } = node.daemon;
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", runRoot]);
    try {
      await node.daemon.start();
      const pod = await node.runPod("full");
      const command = ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done"];
      const ended = await pod.start({ name: "ended", command });
      const created = await pod.create({ name: "created", command: ["sleep", "1000"] });
      const pid = await pidOf(node, ended);
      await node.daemon.kill();
      process.kill(pid, "SIGTERM");
      await until("the container has ended", () => !isAlive(pid));
      fill(join(runRoot, "filler"));
      await node.daemon.start();
      const { status } = await node.runtime.containerStatus({ containerId: ended });
      assert.deepEqual([status?.state, status?.exitCode], [v1.ContainerState.CONTAINER_EXITED, 7]);
      // The call cannot write down what it has done; what it has done is told all the same.
      await assert.rejects(node.runtime.startContainer({ containerId: created }), /ENOSPC/);
      assert.equal(await stateOf(node, created), v1.ContainerState.CONTAINER_RUNNING);
      await node.daemon.restart();
      assert.equal(await stateOf(node, created), v1.ContainerState.CONTAINER_RUNNING);
      await assert.rejects(node.runPod("more"), /ENOSPC/);
      await node.runtime.stopContainer({ containerId: created, timeout: toInt64(0n) });
      assert.equal((await untilExited(node, created)).exitCode, 137);
      rmSync(join(runRoot, "filler"));
      await pod.remove();
      assert.deepEqual(readdirSync(join(runRoot, "sandboxes")), []);
      assert.deepEqual(readdirSync(join(runRoot, "containers")), []);
    } finally {
      await node.daemon.stop();
      execFileSync("umount", ["-l", runRoot]);
    }
  } finally {
    await node.close();
  }
});

// The main job over the real socket: sandbox, container, log, exec, statistics, stop and removal.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { RpcError } from "../../cri-api/client.ts";
import { fromInt64, toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { startNode, untilExited, type TestNode } from "../support/node.ts";
import { requires } from "../support/requires.ts";
import { until } from "../support/until.ts";

const { CONTAINER_CREATED, CONTAINER_EXITED, CONTAINER_RUNNING } = v1.ContainerState;

const status = (wanted: string) => (error: unknown) => {
  assert.ok(error instanceof RpcError, String(error));
  assert.equal(error.status, wanted, error.message);
  return true;
};

describe("a node", requires("root", "overlay", "package:busybox-static"), () => {
  let node: TestNode;

  before(async () => {
    node = await startNode();
  });
  after(async () => {
    await node.close();
  });

  const exec = async (containerId: string, ...cmd: string[]): Promise<string> => {
    const result = await node.runtime.execSync({ containerId, cmd, timeout: toInt64(10n) });
    assert.equal(result.exitCode, 0, Buffer.from(result.stderr).toString());
    return Buffer.from(result.stdout).toString();
  };

  test("runs a pod and a container through all their states", async () => {
    const pod = await node.runPod("states");
    const sandbox = (await node.runtime.podSandboxStatus({ podSandboxId: pod.id })).status;
    assert.equal(sandbox?.state, v1.PodSandboxState.SANDBOX_READY);
    assert.match(sandbox.network?.ip ?? "", /^10\./);
    const containerId = await pod.create({
      name: "main",
      command: ["sh", "-c", "echo hello; echo oops >&2; sleep 1000"],
    });
    const created = (await node.runtime.containerStatus({ containerId })).status;
    assert.equal(created?.state, CONTAINER_CREATED);
    assert.equal(fromInt64(created.startedAt), 0n);
    await node.runtime.startContainer({ containerId });
    const running = (await node.runtime.containerStatus({ containerId })).status;
    assert.equal(running?.state, CONTAINER_RUNNING);
    assert.notEqual(fromInt64(running.startedAt), 0n);
    assert.equal(await exec(containerId, "hostname"), "states\n");
    await node.runtime.stopContainer({ containerId, timeout: toInt64(0n) });
    const exited = (await node.runtime.containerStatus({ containerId })).status;
    assert.equal(exited?.state, CONTAINER_EXITED);
    assert.equal(exited.exitCode, 137);
    assert.equal(exited.reason, "Error");
    const lines = readFileSync(pod.logPath("main"), "utf8").trimEnd().split("\n");
    assert.deepEqual(lines.map((line) => line.replace(/^\S+ /, "")).sort(), [
      "stderr F oops",
      "stdout F hello",
    ]);
    await node.runtime.removeContainer({ containerId });
    await node.runtime.removeContainer({ containerId });
    await assert.rejects(node.runtime.containerStatus({ containerId }), status("NOT_FOUND"));
    await pod.remove();
    await pod.remove();
    await assert.rejects(node.runtime.podSandboxStatus({ podSandboxId: pod.id }), status("NOT_FOUND"));
  });

  test("says how a container is launched, from the empty mount namespace it begins in", async () => {
    const pod = await node.runPod("explained");
    const containerId = await pod.create({ name: "main", command: ["true"] });
    const { text } = await node.daemon.client.cricket.explainContainer({ containerId });
    assert.match(text, /for \/etc\/hosts: the host's mounts are still in sight/);
    assert.match(text, /joinNamespaces mount of an empty mount namespace/);
    await pod.remove();
  });

  test("a retry of the same pod and container gets the first one", async () => {
    const config = node.podConfig("retry");
    const [first, second] = await Promise.all([
      node.runtime.runPodSandbox({ config }),
      node.runtime.runPodSandbox({ config }),
    ]);
    assert.equal(first.podSandboxId, second.podSandboxId);
    const pod = await node.runPod("retry");
    assert.equal(pod.id, first.podSandboxId);
    const options = { name: "main", command: ["sleep", "1000"] };
    const ids = await Promise.all([pod.create(options), pod.create(options)]);
    assert.equal(ids[0], ids[1]);
    assert.equal(await pod.create(options), ids[0]);
    await pod.remove();
  });

  test("exit codes and reasons", async () => {
    const pod = await node.runPod("exits");
    const ends = async (name: string, command: string[]) => {
      const containerId = await pod.start({ name, command });
      const { exitCode, reason } = await untilExited(node, containerId);
      return { exitCode, reason };
    };
    assert.deepEqual(await ends("ok", ["true"]), { exitCode: 0, reason: "Completed" });
    assert.deepEqual(await ends("bad", ["sh", "-c", "exit 42"]), { exitCode: 42, reason: "Error" });
    assert.deepEqual(await ends("killed", ["sh", "-c", "kill -9 $$"]), { exitCode: 0, reason: "Completed" });
    const missing = await pod.create({ name: "missing", command: ["/no/such/program"] });
    await assert.rejects(node.runtime.startContainer({ containerId: missing }), /ENOENT/);
    const failed = await untilExited(node, missing);
    assert.equal(failed.reason, "StartError");
    assert.equal(failed.exitCode, 128);
    assert.match(failed.message, /\/no\/such\/program/);
    await pod.remove();
  });

  test("a container that eats its memory limit is OOMKilled", async () => {
    const pod = await node.runPod("oom");
    const config = pod.containerConfig({
      name: "main",
      command: ["sh", "-c", "x=a; while :; do x=$x$x; done"],
    });
    config.linux = { ...config.linux, resources: { memoryLimitInBytes: toInt64(20n << 20n) } };
    const { containerId } = await node.runtime.createContainer({
      podSandboxId: pod.id,
      config,
      sandboxConfig: pod.config,
    });
    await node.runtime.startContainer({ containerId });
    const { reason, exitCode } = await untilExited(node, containerId);
    assert.deepEqual({ reason, exitCode }, { reason: "OOMKilled", exitCode: 137 });
    await pod.remove();
  });

  test("stop sends the stop signal, waits for the grace period, then kills everything", async () => {
    const pod = await node.runPod("stops");
    const polite = await pod.start({
      name: "polite",
      command: ["sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.05; done"],
    });
    await delay(100);
    await node.runtime.stopContainer({ containerId: polite, timeout: toInt64(10n) });
    assert.equal((await untilExited(node, polite)).exitCode, 5);
    const stubborn = await pod.start({
      name: "stubborn",
      command: ["sh", "-c", "trap '' TERM; (sleep 1000 &); while :; do sleep 1; done"],
    });
    await delay(100);
    await node.runtime.stopContainer({ containerId: stubborn, timeout: toInt64(1n) });
    assert.equal((await untilExited(node, stubborn)).exitCode, 137);
    await pod.remove();
  });

  test("a later stop with a shorter time-out wins", async () => {
    const pod = await node.runPod("hasten");
    const containerId = await pod.start({
      name: "main",
      command: ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"],
    });
    await delay(100);
    const patient = node.runtime.stopContainer({ containerId, timeout: toInt64(3600n) });
    await delay(50);
    await node.runtime.stopContainer({ containerId, timeout: toInt64(0n) });
    await patient;
    await pod.remove();
  });

  test("exec: exit code, both streams, a time-out that kills the tree, a cap on output", async () => {
    const pod = await node.runPod("exec");
    const containerId = await pod.start({ name: "main", command: ["sleep", "1000"] });
    const run = (cmd: string[], timeout = 10n) =>
      node.runtime.execSync({ containerId, cmd, timeout: toInt64(timeout) });
    const both = await run(["sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert.deepEqual(
      { ...both, stdout: Buffer.from(both.stdout).toString(), stderr: Buffer.from(both.stderr).toString() },
      { stdout: "out\n", stderr: "err\n", exitCode: 3 },
    );
    await assert.rejects(run(["sh", "-c", "sleep 4321 & sleep 4321"], 1n), status("DEADLINE_EXCEEDED"));
    assert.equal(
      await exec(containerId, "sh", "-c", "pgrep -f 'sleep 4321' | grep -v $$ || echo none"),
      "none\n",
    );
    const long = await run(["sh", "-c", "head -c 20000000 /dev/zero"]);
    // The most that clients take in one message, less the bytes around it.
    assert.ok(long.stdout.length > 16_777_000 && long.stdout.length < 16_777_216, `${long.stdout.length}`);
    assert.equal(long.exitCode, 0);
    const detached = await run(["sh", "-c", "sleep 3 & echo done"]);
    assert.equal(Buffer.from(detached.stdout).toString(), "done\n");
    await assert.rejects(run([]), status("INVALID_ARGUMENT"));
    await assert.rejects(run(["/no/such/program"]), /ENOENT/);
    await pod.remove();
  });

  test("an exec whose container is stopped ends, and its caller is told why", async () => {
    const pod = await node.runPod("exec-stopped");
    const containerId = await pod.start({ name: "main", command: ["sleep", "1000"] });
    const running = node.runtime.execSync({ containerId, cmd: ["sleep", "1000"], timeout: toInt64(0n) });
    const isTold = status("FAILED_PRECONDITION");
    const failure = assert.rejects(running, (error) => isTold(error) && /was stopped/.test(String(error)));
    // It runs when there are two.
    const count = async () => (await exec(containerId, "sh", "-c", "ps | grep -c '[s]leep 1000'")).trim();
    await until("the exec runs", async () => (await count()) === "2");
    await node.runtime.stopContainer({ containerId, timeout: toInt64(0n) });
    await failure;
    await pod.remove();
  });

  test("a change of oom_score_adj reaches all processes of a container", async () => {
    const pod = await node.runPod("oom-score");
    const containerId = await pod.start({
      name: "main",
      command: ["sh", "-c", "sleep 1000 & sleep 1000"],
      more: {
        linux: {
          resources: { oomScoreAdj: toInt64(300n) },
          securityContext: { namespaceOptions: { pid: v1.NamespaceMode.CONTAINER } },
        },
      },
    });
    const scores = () => exec(containerId, "sh", "-c", "cat /proc/[0-9]*/oom_score_adj | head -2");
    assert.equal(await scores(), "300\n300\n");
    await node.runtime.updateContainerResources({ containerId, linux: { oomScoreAdj: toInt64(700n) } });
    assert.equal(await scores(), "700\n700\n");
    const { status } = await node.runtime.containerStatus({ containerId });
    assert.equal(fromInt64(status?.resources?.linux?.oomScoreAdj), 700n);
    await pod.remove();
  });

  test("a limit is taken away by -1, and nothing else changes", async () => {
    const pod = await node.runPod("unlimited");
    const resources = { memoryLimitInBytes: toInt64(64n << 20n), cpuQuota: toInt64(20_000n) };
    const containerId = await pod.start({
      name: "main",
      command: ["sleep", "1000"],
      more: { linux: { resources } },
    });
    await node.runtime.updateContainerResources({ containerId, linux: { memoryLimitInBytes: toInt64(-1n) } });
    const { status } = await node.runtime.containerStatus({ containerId });
    const { memoryLimitInBytes, cpuQuota } = status?.resources?.linux ?? {};
    assert.deepEqual([fromInt64(memoryLimitInBytes), fromInt64(cpuQuota)], [0n, 20_000n]);
    await pod.remove();
  });

  test("a pod in the host's namespaces", async () => {
    const pod = await node.runPod("host", { hostNetwork: true });
    const containerId = await pod.start({ name: "main", command: ["sleep", "1000"] });
    assert.equal(await exec(containerId, "hostname"), `${hostname()}\n`);
    const sandbox = (await node.runtime.podSandboxStatus({ podSandboxId: pod.id })).status;
    assert.equal(sandbox?.network?.ip ?? "", "");
    await pod.remove();
  });

  test("statistics and a change of limits", async () => {
    const pod = await node.runPod("limits");
    const containerId = await pod.start({ name: "main", command: ["sleep", "1000"] });
    const linux = {
      memoryLimitInBytes: toInt64(64n << 20n),
      cpuQuota: toInt64(20_000n),
      cpuPeriod: toInt64(100_000n),
    };
    await node.runtime.updateContainerResources({ containerId, linux });
    const shown = (await node.runtime.containerStatus({ containerId })).status?.resources?.linux;
    assert.equal(fromInt64(shown?.memoryLimitInBytes), 64n << 20n);
    assert.equal(fromInt64(shown?.cpuQuota), 20_000n);
    const { stats } = await node.runtime.containerStats({ containerId });
    assert.ok(fromInt64(stats?.memory?.workingSetBytes?.value) > 0n);
    assert.ok(fromInt64(stats?.cpu?.usageCoreNanoSeconds?.value) > 0n);
    const all = await node.runtime.listContainerStats({});
    assert.deepEqual(
      all.stats.map((entry) => entry.attributes?.id),
      [containerId],
    );
    await pod.remove();
  });

  test("the log is reopened after a rename", async () => {
    const { renameSync } = await import("node:fs");
    const pod = await node.runPod("rotate");
    const containerId = await pod.start({
      name: "main",
      command: ["sh", "-c", "while :; do echo tick; sleep 0.02; done"],
    });
    await delay(200);
    const path = pod.logPath("main");
    renameSync(path, `${path}.1`);
    await node.runtime.reopenContainerLog({ containerId });
    await delay(200);
    assert.match(readFileSync(path, "utf8"), /^\S+ stdout F tick$/m);
    await node.runtime.stopContainer({ containerId, timeout: toInt64(0n) });
    await assert.rejects(node.runtime.reopenContainerLog({ containerId }), status("FAILED_PRECONDITION"));
    await pod.remove();
  });

  test("what is wrong is refused with its code, and nothing is made", async () => {
    const { runtime } = node;
    await assert.rejects(runtime.runPodSandbox({}), status("INVALID_ARGUMENT"));
    await assert.rejects(
      runtime.runPodSandbox({ config: node.podConfig("x"), runtimeHandler: "nope" }),
      status("INVALID_ARGUMENT"),
    );
    const pod = await node.runPod("refuse");
    await assert.rejects(pod.create({ name: "main", image: "127.0.0.1:1/none:1" }), status("NOT_FOUND"));
    await assert.rejects(runtime.startContainer({ containerId: "feed" }), status("NOT_FOUND"));
    await runtime.stopContainer({ containerId: "feed" });
    await runtime.stopPodSandbox({ podSandboxId: "feed" });
    const containerId = await pod.start({ name: "main", command: ["sleep", "1000"] });
    await assert.rejects(runtime.startContainer({ containerId }), status("FAILED_PRECONDITION"));
    await runtime.stopPodSandbox({ podSandboxId: pod.id });
    assert.equal((await runtime.containerStatus({ containerId })).status?.state, CONTAINER_EXITED);
    await assert.rejects(pod.create({ name: "late" }), status("FAILED_PRECONDITION"));
    assert.deepEqual((await runtime.listContainers({ filter: { id: "feed" } })).containers, []);
    await pod.remove();
  });

  test("an image that a container uses is not removed", async () => {
    const pod = await node.runPod("uses");
    await pod.create({ name: "main" });
    await assert.rejects(
      node.daemon.client.image.removeImage({ image: { image: node.image } }),
      status("FAILED_PRECONDITION"),
    );
    await pod.remove();
  });
});

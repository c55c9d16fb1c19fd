// The life of sandboxes and containers, and which calls may be repeated.
import assert from "node:assert/strict";
import fs from "node:fs";
import { after, before, describe, test } from "node:test";
import { RpcError } from "../../cri-api/client.ts";
import { fromInt64, toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { needs, openTarget, readLines, uniqueName, type Target } from "./target.ts";
import { until } from "../support/until.ts";

const { CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_EXITED } = v1.ContainerState;
const { SANDBOX_READY, SANDBOX_NOTREADY } = v1.PodSandboxState;

const status = (wanted: string) => (error: unknown) => {
  assert.ok(error instanceof RpcError, String(error));
  assert.equal(error.status, wanted, error.message);
  return true;
};

describe("conformance: sandboxes and containers", needs, () => {
  let target: Target;

  before(async () => {
    target = await openTarget();
  });
  after(async () => {
    await target.close();
  });

  test("the version and the conditions are those that the kubelet asks for", async () => {
    const version = await target.runtime.version({ version: "v1" });
    assert.equal(version.version, "0.1.0");
    assert.equal(version.runtimeApiVersion, "v1");
    assert.notEqual(version.runtimeName, "");
    assert.notEqual(version.runtimeVersion, "");
    const conditions = (await target.runtime.status({})).status?.conditions ?? [];
    const isTrue = (type: string) => conditions.find((condition) => condition.type === type)?.status;
    assert.deepEqual([isTrue("RuntimeReady"), isTrue("NetworkReady")], [true, true]);
  });

  test("a sandbox runs, stops and goes; each of them may be asked for again", async () => {
    const pod = await target.runPod();
    const stateOf = async () =>
      (await target.runtime.podSandboxStatus({ podSandboxId: pod.id })).status?.state;
    assert.equal(await stateOf(), SANDBOX_READY);
    assert.deepEqual(await target.sandboxIds({ id: pod.id, state: { state: SANDBOX_READY } }), [pod.id]);
    await target.runtime.stopPodSandbox({ podSandboxId: pod.id });
    await target.runtime.stopPodSandbox({ podSandboxId: pod.id });
    assert.equal(await stateOf(), SANDBOX_NOTREADY);
    await target.runtime.removePodSandbox({ podSandboxId: pod.id });
    await target.runtime.removePodSandbox({ podSandboxId: pod.id });
    assert.deepEqual(await target.sandboxIds({ id: pod.id }), []);
    await assert.rejects(stateOf(), status("NOT_FOUND"));
  });

  test("a sandbox keeps its metadata, labels and annotations", async () => {
    const labels = { "io.kubernetes.pod.name": "a" };
    const annotations = { "example.com/text": "line one\nline two" };
    await target.withPod({ labels, annotations }, async (pod) => {
      const answer = await target.runtime.podSandboxStatus({ podSandboxId: pod.id });
      const { metadata, labels: seenLabels, annotations: seenAnnotations, createdAt } = answer.status!;
      const config = pod.config.metadata!;
      assert.deepEqual(
        [metadata?.name, metadata?.uid, metadata?.namespace],
        [config.name, config.uid, "test"],
      );
      assert.deepEqual({ ...seenLabels }, labels);
      assert.deepEqual({ ...seenAnnotations }, annotations);
      assert.ok(fromInt64(createdAt) > 0n);
      assert.deepEqual(await target.sandboxIds({ labelSelector: labels }), [pod.id]);
      assert.deepEqual(await target.sandboxIds({ labelSelector: { "io.kubernetes.pod.name": "b" } }), []);
    });
  });

  test("a container is created, runs, exits and goes", async () => {
    await target.withPod({}, async (pod) => {
      const containerId = await pod.create({ name: "main", command: ["sleep", "1000"] });
      assert.equal(await target.stateOf(containerId), CONTAINER_CREATED);
      await target.runtime.startContainer({ containerId });
      assert.equal(await target.stateOf(containerId), CONTAINER_RUNNING);
      assert.deepEqual(await target.containerIds({ id: containerId, podSandboxId: pod.id }), [containerId]);
      await target.runtime.stopContainer({ containerId, timeout: toInt64(0n) });
      const ended = await target.untilState(containerId, CONTAINER_EXITED);
      assert.ok(fromInt64(ended.createdAt) <= fromInt64(ended.startedAt));
      assert.ok(fromInt64(ended.startedAt) <= fromInt64(ended.finishedAt));
      await target.runtime.removeContainer({ containerId });
      assert.deepEqual(await target.containerIds({ id: containerId }), []);
      await assert.rejects(target.stateOf(containerId), status("NOT_FOUND"));
    });
  });

  test("a container can be removed in every state", async () => {
    await target.withPod({}, async (pod) => {
      const created = await pod.create({ name: "created", command: ["sleep", "1000"] });
      const running = await pod.start({ name: "running", command: ["sleep", "1000"] });
      const exited = await pod.start({ name: "exited", command: ["true"] });
      await target.untilState(exited, CONTAINER_EXITED);
      for (const containerId of [created, running, exited]) {
        await target.runtime.removeContainer({ containerId });
        assert.deepEqual(await target.containerIds({ id: containerId }), []);
      }
    });
  });

  test("a container keeps its metadata, labels and annotations", async () => {
    await target.withPod({}, async (pod) => {
      const labels = { "io.kubernetes.container.name": "kept" };
      const annotations = { "io.kubernetes.container.hash": "12ab" };
      const containerId = await pod.create({ name: "kept", attempt: 3, more: { labels, annotations } });
      const kept = (await target.runtime.containerStatus({ containerId })).status;
      assert.deepEqual([kept?.metadata?.name, kept?.metadata?.attempt], ["kept", 3]);
      assert.deepEqual({ ...kept?.labels }, labels);
      assert.deepEqual({ ...kept?.annotations }, annotations);
    });
  });

  test("what is not there can be stopped and removed", async () => {
    const gone = "0123456789abcdef".repeat(4);
    await target.runtime.stopPodSandbox({ podSandboxId: gone });
    await target.runtime.removePodSandbox({ podSandboxId: gone });
    await target.runtime.stopContainer({ containerId: gone, timeout: toInt64(0n) });
    await target.runtime.removeContainer({ containerId: gone });
    await target.withPod({}, async (pod) => {
      const containerId = await target.startSleeping(pod);
      for (let repeat = 0; repeat < 2; repeat++)
        await target.runtime.stopContainer({ containerId, timeout: toInt64(0n) });
    });
  });

  test("a program that fails is told with its exit code, one that succeeds as Completed", async () => {
    await target.withPod({}, async (pod) => {
      const failed = await target.runToEnd(pod, { command: ["sh", "-c", "exit 7"] });
      assert.deepEqual([failed.status.exitCode, failed.status.reason], [7, "Error"]);
      const fine = await target.runToEnd(pod, { command: ["true"] });
      assert.deepEqual([fine.status.exitCode, fine.status.reason], [0, "Completed"]);
    });
  });

  test("a program that outgrows its memory ends with 137 and OOMKilled", async () => {
    const more = { linux: { resources: { memoryLimitInBytes: toInt64(24n << 20n) } } };
    await target.withPod({}, async (pod) => {
      const ended = await target.runToEnd(pod, { command: ["sh", "-c", "exec tail /dev/zero"], more });
      assert.deepEqual([ended.status.exitCode, ended.status.reason], [137, "OOMKilled"]);
    });
  });

  test("a command runs in a container, and dies with all it started at its time-out", async () => {
    await target.withPod({}, async (pod) => {
      const containerId = await target.startSleeping(pod);
      assert.equal(await target.sh(containerId, "echo hello"), "hello\n");
      const cmd = ["sh", "-c", "sleep 54321"];
      const late = target.runtime.execSync({ containerId, cmd, timeout: toInt64(1n) });
      await assert.rejects(late, status("DEADLINE_EXCEEDED"));
      assert.equal(await target.sh(containerId, "ps -o args | grep -c '^sleep 54321'; true"), "0\n");
    });
  });

  test("output goes to the log as it comes, and into a new file after the old one was moved", async () => {
    await target.withPod({}, async (pod) => {
      const script = "echo first; echo other >&2; read line < /go; echo second; sleep 1000";
      const containerId = await pod.start({ name: "log", command: ["sh", "-c", `mkfifo /go; ${script}`] });
      const file = pod.logPath("log");
      await until("its lines are there", () => fs.existsSync(file) && readLines(file).length === 2);
      assert.match(fs.readFileSync(file, "utf8"), /^\d{4}-\d\d-\d\dT\S+ (stdout F first|stderr F other)\n/m);
      fs.renameSync(file, `${file}.old`);
      await target.runtime.reopenContainerLog({ containerId });
      await target.sh(containerId, "echo > /go");
      await until("its lines are there", () => fs.existsSync(file) && readLines(file).length === 1);
      assert.deepEqual(readLines(file), ["second"]);
      assert.deepEqual(readLines(`${file}.old`).toSorted(), ["first", "other"]);
    });
  });

  test("output without a newline at its end is tagged P, by which the kubelet adds none", async () => {
    await target.withPod({}, async (pod) => {
      await pod.start({ name: "main", command: ["sh", "-c", "echo line; printf rest"] });
      const file = pod.logPath("main");
      await until("its lines are there", () => fs.existsSync(file) && readLines(file).length === 2);
      assert.match(fs.readFileSync(file, "utf8"), /^\S+ stdout F line\n\S+ stdout P rest\n$/);
    });
  });

  test("containers of one pod share its network, and each has its own log and commands", async () => {
    await target.withPod({}, async (pod) => {
      const server = "mkdir /www; echo page > /www/index.html; exec httpd -f -p 8080 -h /www";
      const web = await pod.start({ name: "web", command: ["sh", "-c", server] });
      const script = "until wget -q -O - http://127.0.0.1:8080/; do sleep 0.1; done 2>/dev/null";
      const { log } = await target.runToEnd(pod, { command: ["sh", "-c", script] });
      assert.equal(log, "page");
      assert.equal(await target.sh(web, "echo in web"), "in web\n");
      assert.deepEqual(readLines(pod.logPath("web")), []);
    });
  });

  test("statistics are those of the containers asked for", async () => {
    await target.withPod({}, async (pod) => {
      const label = { "example.com/set": uniqueName() };
      const ids = [await target.startSleeping(pod, { labels: label }), await target.startSleeping(pod)];
      const statsOf = async (filter?: v1.ContainerStatsFilterSent) =>
        (await target.runtime.listContainerStats(filter === undefined ? {} : { filter })).stats;
      const byLabel = await statsOf({ labelSelector: label });
      assert.deepEqual(
        byLabel.map(({ attributes }) => attributes?.id),
        [ids[0]],
      );
      const byId = await statsOf({ id: ids[1]! });
      assert.deepEqual(
        byId.map(({ attributes }) => attributes?.id),
        [ids[1]],
      );
      const all = (await statsOf()).map(({ attributes }) => attributes?.id);
      for (const id of ids) assert.ok(all.includes(id));
      const [first] = byLabel;
      assert.ok(fromInt64(first?.cpu?.usageCoreNanoSeconds?.value) > 0n);
      assert.ok(fromInt64(first?.memory?.workingSetBytes?.value) > 0n);
      const writable = first?.writableLayer;
      assert.notEqual(writable?.fsId?.mountpoint ?? "", "");
    });
  });
});

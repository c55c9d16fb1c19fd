// The daemon on a machine with cgroup v2 alone.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, it } from "node:test";
import { fromInt64, toInt64 } from "../../cri-api/int64.ts";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { containerConfig, podConfig } from "../support/pod.ts";
import { requires } from "../support/requires.ts";
import { runInPod } from "../support/run-in-pod.ts";
import { startStaticRegistry, type StaticRegistry } from "../support/static-registry.ts";
import { busyboxImage } from "../support/test-image.ts";

const needs = requires("root", "cgroup-v2", "package:busybox-static");
const mebibyte = 1024n * 1024n;

describe("the daemon on cgroup v2", needs, () => {
  let registry: StaticRegistry;
  let daemon: TestDaemon;
  let image: string;

  before(async () => {
    registry = await startStaticRegistry();
    daemon = await startDaemon({
      registries: [registry.address],
      settings: { "container.oom_group": true },
    });
    image = registry.add("test/busybox", "1", await busyboxImage());
    await daemon.client.image.pullImage({ image: { image } });
  });
  after(async () => {
    try {
      await daemon.close();
    } finally {
      await registry.close();
    }
  });

  const limited = (memoryBytes: bigint) => ({
    linux: {
      resources: {
        memoryLimitInBytes: toInt64(memoryBytes),
        cpuQuota: toInt64(20_000n),
        cpuPeriod: toInt64(100_000n),
        cpuShares: toInt64(512n),
      },
    },
  });

  it("gives the container a cgroup namespace with its limits", async () => {
    const script = "cat /proc/self/cgroup; cd /sys/fs/cgroup; cat memory.max cpu.max cpu.weight";
    const { log } = await runInPod(daemon, {
      image,
      command: ["sh", "-c", script],
      more: limited(64n * mebibyte),
    });
    const [cgroup, memory, quota, weight] = log.trimEnd().split("\n");
    assert.equal(cgroup, "0::/");
    assert.deepEqual([memory, quota], [String(64n * mebibyte), "20000 100000"]);
    assert.ok(Number(weight) > 1 && Number(weight) < 100, `cpu.weight is ${weight}`);
  });

  it("lets containers begin in an empty mount namespace", async () => {
    const { runtime, cricket } = daemon.client;
    const logDirectory = fs.mkdtempSync(path.join(daemon.directory, "explained-"));
    const pod = podConfig({ name: "explained", logDirectory, hostNetwork: true });
    const { podSandboxId } = await runtime.runPodSandbox({ config: pod });
    const config = containerConfig({ name: "explained", image, command: ["true"] });
    const { containerId } = await runtime.createContainer({ podSandboxId, config, sandboxConfig: pod });
    const { text } = await cricket.explainContainer({ containerId });
    assert.match(text, /joinNamespaces mount of an empty mount namespace/);
    await runtime.removePodSandbox({ podSandboxId });
  });

  it("says OOMKilled of a container that outgrew its limit", async () => {
    const { exitCode, reason } = await runInPod(daemon, {
      image,
      command: ["sh", "-c", "exec tail /dev/zero"],
      more: limited(16n * mebibyte),
    });
    assert.deepEqual({ exitCode, reason }, { exitCode: 137, reason: "OOMKilled" });
  });

  it("gives a pod a user namespace, with layers that its kernel maps only by way of directories", async () => {
    const mapping = [{ containerId: 0, hostId: 100_000, length: 65_536 }];
    const usernsOptions = { mode: v1.NamespaceMode.POD, uids: mapping, gids: mapping };
    const securityContext = { namespaceOptions: { pid: v1.NamespaceMode.CONTAINER, usernsOptions } };
    const { log } = await runInPod(daemon, {
      image,
      command: ["sh", "-c", "cat /proc/self/uid_map; stat -c %u /bin/busybox; touch /x && stat -c %u /x"],
      more: { linux: { securityContext } },
      pod: { linux: { securityContext } },
    });
    assert.deepEqual(log.trim().split(/\s+/), ["0", "100000", "65536", "0", "0"]);
  });

  it("kills all of a container that runs out of memory, unless it asks for one process", async () => {
    const command = ["sh", "-c", "tail /dev/zero; echo survived; exit 3"];
    const together = await runInPod(daemon, { image, command, more: limited(16n * mebibyte) });
    assert.deepEqual(together, { log: "", exitCode: 137, reason: "OOMKilled" });
    const { linux } = limited(16n * mebibyte);
    const more = { linux: { resources: { ...linux.resources, unified: { "memory.oom.group": "0" } } } };
    const alone = await runInPod(daemon, { image, command, more });
    // The container's own process was not killed: it ended by itself (kubernetes#140718).
    assert.match(alone.log, /survived/);
    assert.deepEqual([alone.exitCode, alone.reason], [3, "Error"]);
  });

  it("kills the whole tree of an exec at its time-out, measures and updates a container", async () => {
    const { runtime } = daemon.client;
    const logDirectory = path.join(daemon.directory, "logs");
    fs.mkdirSync(logDirectory);
    const pod = podConfig({ name: "v2", logDirectory });
    const config = containerConfig({
      name: "c",
      image,
      command: ["sleep", "1000"],
      more: limited(64n * mebibyte),
    });
    const { podSandboxId } = await runtime.runPodSandbox({ config: pod });
    const { containerId } = await runtime.createContainer({ podSandboxId, config, sandboxConfig: pod });
    await runtime.startContainer({ containerId });
    const exec = (timeoutSeconds: bigint, ...cmd: string[]) =>
      runtime.execSync({ containerId, cmd, timeout: toInt64(timeoutSeconds) });
    await assert.rejects(exec(1n, "sh", "-c", "sleep 777 & sleep 777"), { status: "DEADLINE_EXCEEDED" });
    const { stdout } = await exec(60n, "sh", "-c", "ps | grep -c '[s]leep 777'; true");
    assert.equal(Buffer.from(stdout).toString(), "0\n");
    const { stats } = await runtime.containerStats({ containerId });
    assert.ok(fromInt64(stats?.memory?.workingSetBytes?.value) > 0n);
    const linux = { memoryLimitInBytes: toInt64(32n * mebibyte) };
    await runtime.updateContainerResources({ containerId, linux });
    const after = await exec(60n, "cat", "/sys/fs/cgroup/memory.max");
    assert.equal(Buffer.from(after.stdout).toString(), `${32n * mebibyte}\n`);
  });
});

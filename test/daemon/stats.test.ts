// Statistics, metrics and pod resources over the real socket.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { RpcError } from "../../cri-api/client.ts";
import { fromInt64, toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { CgroupManager } from "../../src/linux/cgroup/cgroup-manager.ts";
import { hierarchyOf } from "../../src/linux/cgroup/layout.ts";
import { findTool } from "../../src/linux/run-tool.ts";
import { criuSkip } from "../support/criu.ts";
import { startNode, type TestNode, type TestPod } from "../support/node.ts";
import { requires } from "../support/requires.ts";

const status = (wanted: string, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof RpcError, String(error));
  assert.equal(error.status, wanted, error.message);
  assert.match(error.message, message);
  return true;
};

const valueOf = (value: v1.UInt64Value | null | undefined): bigint => fromInt64(value?.value ?? toInt64(-1n));

describe("statistics of a node", requires("root", "overlay", "package:busybox-static"), () => {
  let node: TestNode;
  let pod: TestPod;
  let containerId: string;

  before(async () => {
    node = await startNode();
    pod = await node.runPod("measured");
    const command = ["sh", "-c", "head -c 3000000 /dev/zero > /file; exec sleep 1000"];
    containerId = await pod.start({
      name: "main",
      command,
      more: {
        linux: {
          resources: {
            memoryLimitInBytes: toInt64(64n * 1024n * 1024n),
            cpuPeriod: toInt64(100_000n),
            cpuQuota: toInt64(50_000n),
            cpuShares: toInt64(512n),
          },
        },
      },
    });
    const cmd = ["sh", "-c", "until [ -s /file ]; do :; done"];
    await node.runtime.execSync({ containerId, cmd, timeout: toInt64(10n) });
  });
  after(async () => {
    await node.close();
  });

  test("PodSandboxStats has CPU, memory, network, processes and the containers", async () => {
    const { stats } = await node.runtime.podSandboxStats({ podSandboxId: pod.id });
    assert.equal(stats?.attributes?.id, pod.id);
    assert.equal(stats.attributes.metadata?.name, "measured");
    const { linux } = stats;
    assert.ok(linux?.cpu && linux.memory && linux.network && linux.process);
    assert.ok(valueOf(linux.cpu.usageCoreNanoSeconds) > 0n);
    assert.ok(valueOf(linux.memory.workingSetBytes) > 0n);
    assert.equal(linux.network.defaultInterface?.name, "eth0");
    assert.ok(valueOf(linux.network.defaultInterface.rxBytes) >= 0n);
    assert.ok(valueOf(linux.process.processCount) >= 2n);
    assert.deepEqual(
      linux.containers.map(({ attributes }) => attributes?.id),
      [containerId],
    );
  });

  test("ListPodSandboxStats goes by its filter, and an id that matches nothing yields an empty list", async () => {
    const ids = async (filter: v1.PodSandboxStatsFilterSent): Promise<(string | undefined)[]> =>
      (await node.runtime.listPodSandboxStats({ filter })).stats.map(({ attributes }) => attributes?.id);
    assert.deepEqual(await ids({ id: pod.id.slice(0, 12) }), [pod.id]);
    assert.deepEqual(await ids({ labelSelector: { app: "test" } }), [pod.id]);
    assert.deepEqual(await ids({ labelSelector: { app: "other" } }), []);
    assert.deepEqual(await ids({ id: "0000" }), []);
  });

  test("every metric has a descriptor and as many labels as that has", async () => {
    const { descriptors } = await node.runtime.listMetricDescriptors({});
    const labelKeys = new Map(descriptors.map(({ name, labelKeys: keys }) => [name, keys]));
    assert.equal(labelKeys.size, descriptors.length, "a name twice");
    for (const { name, help } of descriptors) assert.ok(name.startsWith("container_") && help !== "");
    const { podMetrics } = await node.runtime.listPodSandboxMetrics({});
    const [found] = podMetrics;
    assert.ok(found !== undefined && podMetrics.length === 1);
    for (const { name, labelValues } of [...found.metrics, ...metricsOfContainer(found)])
      assert.equal(labelValues.length, labelKeys.get(name)?.length, name);
  });

  test("metrics have the values that the kernel and the config have", async () => {
    const [found] = (await node.runtime.listPodSandboxMetrics({})).podMetrics;
    assert.ok(found !== undefined);
    assert.equal(found.podSandboxId, pod.id);
    const ofContainer = metricsOfContainer(found);
    const value = (name: string, ...labels: string[]): bigint => {
      const metric = ofContainer.find(
        (one) => one.name === name && labels.every((label) => one.labelValues.includes(label)),
      );
      assert.ok(metric !== undefined, name);
      return valueOf(metric.value);
    };
    assert.equal(value("container_spec_memory_limit_bytes"), 64n * 1024n * 1024n);
    assert.equal(value("container_spec_cpu_quota"), 50_000n);
    assert.equal(value("container_spec_cpu_period"), 100_000n);
    assert.equal(value("container_processes"), 1n);
    assert.equal(value("container_threads"), 1n);
    assert.ok(value("container_file_descriptors") >= 3n);
    assert.equal(value("container_oom_events_total"), 0n);
    assert.ok(value("container_memory_usage_bytes") >= value("container_memory_working_set_bytes"));
    assert.ok(value("container_memory_failures_total", "pgfault", "container") > 0n);
    assert.ok(value("container_fs_limit_bytes") > 0n);
    assert.ok(value("container_ulimits_soft", "max_open_files") > 0n);
    assert.ok(value("container_cpu_cfs_periods_total") >= 0n);
    const now = BigInt(Math.floor(Date.now() / 1000));
    assert.ok(now - value("container_start_time_seconds") < 300n);
    const { labelValues } = ofContainer[0] ?? { labelValues: [] };
    assert.deepEqual(labelValues, [containerId, node.image, "test", "measured", "main"]);
    const received = found.metrics.find(({ name }) => name === "container_network_receive_bytes_total");
    assert.deepEqual(received?.labelValues, [pod.id, "", "test", "measured", "POD", "eth0"]);
  });

  test("a pod that is not ready has no metrics, an ended container neither", async () => {
    const other = await node.runPod("ended");
    const ended = await other.start({ name: "main", command: ["sleep", "1000"] });
    await node.runtime.stopContainer({ containerId: ended, timeout: toInt64(0n) });
    const listed = (await node.runtime.listPodSandboxMetrics({})).podMetrics;
    assert.deepEqual(listed.find(({ podSandboxId }) => podSandboxId === other.id)?.containerMetrics, []);
    await node.runtime.stopPodSandbox({ podSandboxId: other.id });
    const left = (await node.runtime.listPodSandboxMetrics({})).podMetrics;
    assert.deepEqual(
      left.map(({ podSandboxId }) => podSandboxId),
      [pod.id],
    );
    await other.remove();
  });

  test("UpdatePodSandboxResources sets the limits of a pod cgroup that cricket made", async () => {
    const { info } = await node.runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true });
    const cgroupPath = /"cgroupPath":\s*"([^"]+)"/.exec(info["info"] ?? "")?.[1];
    assert.ok(cgroupPath !== undefined, info["info"]);
    const mebibyte = 1024n * 1024n;
    await node.runtime.updatePodSandboxResources({
      podSandboxId: pod.id,
      resources: { memoryLimitInBytes: toInt64(100n * mebibyte) },
      overhead: { memoryLimitInBytes: toInt64(20n * mebibyte) },
    });
    assert.equal(memoryLimit(cgroupPath), 120n * mebibyte);
    await node.daemon.restart();
    // The overhead of before is still counted.
    await node.runtime.updatePodSandboxResources({
      podSandboxId: pod.id,
      resources: { memoryLimitInBytes: toInt64(200n * mebibyte) },
    });
    assert.equal(memoryLimit(cgroupPath), 220n * mebibyte);
  });

  test("UpdatePodSandboxResources names what is wrong", async () => {
    const { runtime } = node;
    await assert.rejects(
      runtime.updatePodSandboxResources({ podSandboxId: "" }),
      status("INVALID_ARGUMENT", /pod_sandbox_id/),
    );
    await assert.rejects(
      runtime.updatePodSandboxResources({ podSandboxId: "0000" }),
      status("NOT_FOUND", /does not exist/),
    );
    await assert.rejects(
      runtime.updatePodSandboxResources({ podSandboxId: pod.id, overhead: { cpuPeriod: toInt64(7n) } }),
      status("INVALID_ARGUMENT", /overhead\.cpu_period/),
    );
  });

  test("CheckpointContainer says what is missing", async (t) => {
    await assert.rejects(
      node.runtime.checkpointContainer({ containerId: "0000", location: "/tmp/checkpoint" }),
      status("NOT_FOUND", /does not exist/),
    );
    const criu = findTool("criu");
    if (criu !== undefined && criuSkip(criu).skip === undefined)
      return t.skip("criu works here: checkpoint.test.ts has the rest");
    const refused =
      criu === undefined ? status("UNIMPLEMENTED", /criu/) : status("INTERNAL", /criu dump failed/);
    const location = join(node.daemon.directory, "checkpoint.tar");
    await assert.rejects(node.runtime.checkpointContainer({ containerId, location }), refused);
    assert.ok(!existsSync(location));
    const { status: after } = await node.runtime.containerStatus({ containerId });
    assert.equal(after?.state, v1.ContainerState.CONTAINER_RUNNING);
  });
});

function metricsOfContainer(pod: v1.PodSandboxMetrics): v1.Metric[] {
  return pod.containerMetrics[0]?.metrics ?? [];
}

function memoryLimit(cgroupPath: string): bigint {
  const hierarchy = hierarchyOf(new CgroupManager().layout, "memory");
  assert.ok(hierarchy !== undefined);
  const file = hierarchy.version === 1 ? "memory.limit_in_bytes" : "memory.max";
  return BigInt(readFileSync(`${hierarchy.root}${cgroupPath}/${file}`, "utf8").trim());
}

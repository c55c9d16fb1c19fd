import assert from "node:assert/strict";
import { test } from "node:test";
import type { MetricFamily } from "../../../src/config/config.ts";
import type { CounterGroup } from "../../../src/linux/cgroup/cgroup-counters.ts";
import {
  collectPodMetrics,
  type MetricContainer,
  type MetricSandbox,
} from "../../../src/stats/pod-metrics.ts";
import { resources } from "../container/container-fixtures.ts";

const sandboxMetadata = { name: "web", uid: "u", namespace: "default", attempt: 0 };
const sandbox: MetricSandbox = {
  record: { id: "s", cgroupPath: "/pod", config: { metadata: sandboxMetadata } },
};
const container = (id: string, state: MetricContainer["state"] = "running"): MetricContainer => ({
  record: {
    id,
    cgroupPath: `/pod/${id}`,
    startedAtNs: 5_000_000_000n,
    resources: resources(),
    sandboxMetadata,
    config: { metadata: { name: id } },
    image: { name: "busybox" },
  },
  state,
});

/** Metrics of one pod of which everything that is read is noted. */
async function collect(families: MetricFamily[]) {
  const reads: string[] = [];
  let groups: ReadonlySet<CounterGroup> = new Set();
  const parts = {
    cgroups: {
      counters: (path: string, asked: ReadonlySet<CounterGroup>) => {
        reads.push(`counters ${path}`);
        groups = asked;
        return { hugetlb: [], devices: [], pressure: {}, tasks: { count: 3n } };
      },
      pids: (path: string) => {
        reads.push(`pids ${path}`);
        // No such processes: their descriptors count as none.
        return path === "/pod/cricket-s" ? [0x7ffffff0] : [0x7ffffff1, 0x7ffffff2];
      },
    },
    writableLayer: () => ({ bytes: 10, inodes: 1 }),
    writableLayerMountpoint: "/",
    interfacesOf: (asked: readonly MetricSandbox[]) => {
      reads.push(`interfaces of ${asked.length}`);
      return Promise.resolve(new Map());
    },
    containersOf: () => [container("a"), container("b"), container("c", "exited")],
  };
  const [pod] = await collectPodMetrics([sandbox], parts, new Set(families), (one) => one);
  assert.ok(pod !== undefined);
  return { pod, reads: reads.toSorted(), groups: [...groups] };
}

test("`collectPodMetrics()` reads each cgroup once, and counts the pod's processes from its containers'", async () => {
  const { pod, reads } = await collect(["process", "network", "cpu"]);
  assert.deepEqual(reads, [
    "counters /pod",
    "counters /pod/a",
    "counters /pod/b",
    "interfaces of 1",
    "pids /pod/a",
    "pids /pod/b",
    "pids /pod/cricket-s",
  ]);
  const processes = pod.samples.find(({ name }) => name === "container_processes");
  assert.equal(processes?.value, 5n);
  assert.deepEqual(
    pod.containers.map(({ containerId }) => containerId),
    ["a", "b"],
  );
});

test("`collectPodMetrics()` reads nothing for families that are left out", async () => {
  const { pod, reads, groups } = await collect(["memory", "oom"]);
  assert.deepEqual(reads, ["counters /pod", "counters /pod/a", "counters /pod/b"]);
  assert.deepEqual(groups, ["memory", "oom"]);
  const names = new Set([...pod.samples, ...(pod.containers[0]?.samples ?? [])].map(({ name }) => name));
  for (const name of ["container_processes", "container_fs_usage_bytes", "container_start_time_seconds"])
    assert.ok(!names.has(name), name);
});

// events: what a container uses, in the form engines read.
import type { CgroupMemoryStats, CgroupStats } from "../../linux/cgroup/cgroup-stats.ts";
import { failedPrecondition } from "../../base/errors.ts";
import type { Runtime } from "./runtime.ts";

/** One event as runc prints it; 64-bit counters are bigints: write it with stringifyExactIntegers. */
export function statsEvent({ store }: Runtime, id: string): Record<string, unknown> {
  const state = store.get(id);
  const status = store.status(state);
  if (status === "stopped" || status === "creating")
    throw failedPrecondition(`container with id ${id} is not running`);
  const stats = store.cgroups.stats(state.cgroupPath);
  return {
    type: "stats",
    id,
    data: formatStats(stats ?? { pressure: {} }, store.cgroups.readResources(state.cgroupPath).pidsLimit),
  };
}

function formatStats({ cpu, memory, taskCount }: CgroupStats, pidsLimit: bigint): Record<string, unknown> {
  return {
    cpu: { usage: { total: cpu?.usageNs ?? 0n, kernel: 0, user: 0 }, throttling: {} },
    memory: memory === undefined ? {} : formatMemory(memory),
    pids: { current: taskCount ?? 0n, ...(pidsLimit > 0n ? { limit: pidsLimit } : {}) },
    blkio: {},
    hugetlb: {},
    intel_rdt: {},
    network_interfaces: null,
  };
}

/** As the kernel writes "no limit" on cgroup v1. */
const noLimit = 2n ** 63n - 4096n;

function formatMemory(memory: CgroupMemoryStats): Record<string, unknown> {
  const { usageBytes, workingSetBytes, limitBytes = noLimit, swapUsageBytes = 0n } = memory;
  return {
    cache: usageBytes - workingSetBytes,
    usage: { limit: limitBytes, usage: usageBytes, failcnt: 0 },
    swap: { limit: memory.swapLimitBytes ?? 0n, usage: swapUsageBytes, failcnt: 0 },
    kernel: { limit: 0, failcnt: 0 },
    kernelTCP: { limit: 0, failcnt: 0 },
    raw: { rss: memory.rssBytes, pgfault: memory.pageFaults, pgmajfault: memory.majorPageFaults },
  };
}

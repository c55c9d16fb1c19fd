// Usage in the CRI's terms, from what a cgroup says.
import type { CgroupStats, Pressure } from "../linux/cgroup/cgroup-stats.ts";

/** Absent members: what the kernel does not tell here (no PSI, no swap accounting, no earlier reading). */
export interface ResourceUsage {
  timestampNs: bigint;
  cpu: { usageCoreNs: bigint; usageNanoCores?: bigint; pressure?: Pressure };
  memory: {
    workingSetBytes: bigint;
    /** Limit minus working set; absent without a limit. */
    availableBytes?: bigint;
    usageBytes: bigint;
    rssBytes: bigint;
    pageFaults: bigint;
    majorPageFaults: bigint;
    pressure?: Pressure;
  };
  swap?: { availableBytes?: bigint; usageBytes: bigint };
  ioPressure?: Pressure;
}

export function toResourceUsage(
  stats: CgroupStats,
  timestampNs: bigint,
  usageNanoCores: bigint | undefined,
): ResourceUsage {
  const usage: ResourceUsage = {
    timestampNs,
    cpu: { usageCoreNs: stats.cpu?.usageNs ?? 0n },
    memory: memoryUsage(stats),
  };
  if (usageNanoCores !== undefined) usage.cpu.usageNanoCores = usageNanoCores;
  if (stats.pressure.cpu !== undefined) usage.cpu.pressure = stats.pressure.cpu;
  if (stats.pressure.memory !== undefined) usage.memory.pressure = stats.pressure.memory;
  if (stats.pressure.io !== undefined) usage.ioPressure = stats.pressure.io;
  const swap = swapUsage(stats);
  if (swap !== undefined) usage.swap = swap;
  return usage;
}

const nothing = { workingSetBytes: 0n, usageBytes: 0n, rssBytes: 0n, pageFaults: 0n, majorPageFaults: 0n };

function memoryUsage({ memory }: CgroupStats): ResourceUsage["memory"] {
  if (memory === undefined) return { ...nothing };
  const { workingSetBytes, usageBytes, rssBytes, pageFaults, majorPageFaults, limitBytes } = memory;
  const usage: ResourceUsage["memory"] = {
    workingSetBytes,
    usageBytes,
    rssBytes,
    pageFaults,
    majorPageFaults,
  };
  if (limitBytes !== undefined) usage.availableBytes = atLeastZero(limitBytes - workingSetBytes);
  return usage;
}

function swapUsage({ memory }: CgroupStats): ResourceUsage["swap"] {
  if (memory?.swapUsageBytes === undefined) return undefined;
  const { swapUsageBytes: usageBytes, swapLimitBytes } = memory;
  if (swapLimitBytes === undefined) return { usageBytes };
  return { usageBytes, availableBytes: atLeastZero(swapLimitBytes - usageBytes) };
}

const atLeastZero = (bytes: bigint): bigint => (bytes < 0n ? 0n : bytes);

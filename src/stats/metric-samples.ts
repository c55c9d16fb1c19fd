// Values of the metrics, from what was read. What the kernel does not count yields no sample.
import type {
  CgroupCounters,
  CpuCounters,
  DeviceCounters,
  MemoryCounters,
} from "../linux/cgroup/cgroup-counters.ts";
import type { Pressure } from "../linux/cgroup/cgroup-stats.ts";
import type { InterfaceStatistics } from "../linux/netlink-route.ts";
import {
  cpuMetrics,
  diskIoMetrics,
  diskMetrics,
  hugetlbMetrics,
  memoryMetrics,
  networkMetrics,
  oomMetrics,
  pressureMetrics,
  processMetrics,
  type MetricDescriptor,
  type MetricType,
} from "./metric-descriptors.ts";

/** A value of a metric, with the values of its own labels. */
export type Measurement = readonly [
  metric: MetricDescriptor,
  value: bigint | undefined,
  ...labels: readonly string[],
];

export interface MetricSample {
  name: string;
  type: MetricType;
  /** As many as the metric's descriptor has keys, in that order. */
  labelValues: readonly string[];
  value: bigint;
}

/** `baseLabels`: values of `baseLabelKeys`. */
export function samplesOf(
  measurements: readonly Measurement[],
  baseLabels: readonly string[],
): MetricSample[] {
  return measurements.flatMap(([{ name, type }, value, ...labels]) =>
    value === undefined ? [] : [{ name, type, labelValues: [...baseLabels, ...labels], value }],
  );
}

const nsPerSecond = 1_000_000_000n;
const inSeconds = (ns: bigint | undefined): bigint | undefined =>
  ns === undefined ? undefined : ns / nsPerSecond;

/** All that comes from the cgroup. */
export function measureCgroup(counters: CgroupCounters): Measurement[] {
  const { cpu, memory, hugetlb, devices, pressure, oomKills, tasks } = counters;
  return [
    ...(cpu === undefined ? [] : measureCpu(cpu)),
    ...hugetlb.flatMap(({ pageSize, usageBytes, maxUsageBytes }): Measurement[] => [
      [hugetlbMetrics.usage, usageBytes, pageSize],
      [hugetlbMetrics.maxUsage, maxUsageBytes, pageSize],
    ]),
    ...(memory === undefined ? [] : measureMemory(memory)),
    [oomMetrics.kills, oomKills],
    [processMetrics.threads, tasks?.count],
    [processMetrics.threadsMax, tasks === undefined ? undefined : (tasks.limit ?? 0n)],
    ...devices.flatMap(measureDevice),
    ...measurePressure(pressure),
  ];
}

function measureCpu({ usageNs, userNs, systemNs, quota }: CpuCounters): Measurement[] {
  return [
    [cpuMetrics.user, inSeconds(userNs)],
    [cpuMetrics.system, inSeconds(systemNs)],
    // One line for all CPUs, as the kubelet's own cAdvisor has it.
    [cpuMetrics.usage, inSeconds(usageNs), "total"],
    [cpuMetrics.periods, quota?.periods],
    [cpuMetrics.throttledPeriods, quota?.throttledPeriods],
    [cpuMetrics.throttled, inSeconds(quota?.throttledNs)],
  ];
}

function measureMemory(memory: MemoryCounters): Measurement[] {
  const { pageFaults, majorPageFaults } = memory;
  return [
    [memoryMetrics.cache, memory.cacheBytes],
    [memoryMetrics.rss, memory.rssBytes],
    [memoryMetrics.kernel, memory.kernelBytes],
    [memoryMetrics.mappedFile, memory.mappedFileBytes],
    [memoryMetrics.swap, memory.swapBytes],
    [memoryMetrics.limitHits, memory.limitHits],
    [memoryMetrics.usage, memory.usageBytes],
    [memoryMetrics.maxUsage, memory.maxUsageBytes],
    [memoryMetrics.workingSet, memory.workingSetBytes],
    [memoryMetrics.activeFile, memory.activeFileBytes],
    [memoryMetrics.inactiveFile, memory.inactiveFileBytes],
    [memoryMetrics.activeAnon, memory.activeAnonBytes],
    [memoryMetrics.inactiveAnon, memory.inactiveAnonBytes],
    [memoryMetrics.anonHuge, memory.anonHugeBytes],
    [memoryMetrics.shmemHuge, memory.shmemHugeBytes],
    [memoryMetrics.fileHuge, memory.fileHugeBytes],
    // A container has no cgroups below it that count for themselves: both scopes are the same.
    [memoryMetrics.faults, pageFaults, "pgfault", "container"],
    [memoryMetrics.faults, majorPageFaults, "pgmajfault", "container"],
    [memoryMetrics.faults, pageFaults, "pgfault", "hierarchy"],
    [memoryMetrics.faults, majorPageFaults, "pgmajfault", "hierarchy"],
  ];
}

function measureDevice({ major, minor, ...counters }: DeviceCounters): Measurement[] {
  const device = `${major}:${minor}`;
  const numbers = [device, String(major), String(minor)];
  return [
    [diskIoMetrics.readBytes, counters.readBytes, device],
    [diskIoMetrics.reads, counters.reads, device],
    [diskIoMetrics.writeBytes, counters.writeBytes, device],
    [diskIoMetrics.writes, counters.writes, device],
    [diskIoMetrics.deviceUsage, counters.readBytes, ...numbers, "read"],
    [diskIoMetrics.deviceUsage, counters.writeBytes, ...numbers, "write"],
  ];
}

function measurePressure({ cpu, memory, io }: CgroupCounters["pressure"]): Measurement[] {
  const seconds = (pressure: Pressure | undefined, kind: "some" | "full"): bigint | undefined =>
    pressure === undefined ? undefined : pressure[kind].totalMicroseconds / 1_000_000n;
  return [
    [pressureMetrics.cpuStalled, seconds(cpu, "full")],
    [pressureMetrics.cpuWaiting, seconds(cpu, "some")],
    [pressureMetrics.memoryStalled, seconds(memory, "full")],
    [pressureMetrics.memoryWaiting, seconds(memory, "some")],
    [pressureMetrics.ioStalled, seconds(io, "full")],
    [pressureMetrics.ioWaiting, seconds(io, "some")],
  ];
}

export function measureInterface(name: string, counters: InterfaceStatistics): Measurement[] {
  return [
    [networkMetrics.rxBytes, counters.rxBytes, name],
    [networkMetrics.rxPackets, counters.rxPackets, name],
    [networkMetrics.rxDropped, counters.rxDropped, name],
    [networkMetrics.rxErrors, counters.rxErrors, name],
    [networkMetrics.txBytes, counters.txBytes, name],
    [networkMetrics.txPackets, counters.txPackets, name],
    [networkMetrics.txDropped, counters.txDropped, name],
    [networkMetrics.txErrors, counters.txErrors, name],
  ];
}

export interface Filesystem {
  sizeBytes: bigint;
  inodes: bigint;
  freeInodes: bigint;
}

export function measureDisk(filesystem: Filesystem, usedBytes: bigint | undefined): Measurement[] {
  return [
    [diskMetrics.inodesFree, filesystem.freeInodes],
    [diskMetrics.inodesTotal, filesystem.inodes],
    [diskMetrics.limit, filesystem.sizeBytes],
    [diskMetrics.usage, usedBytes],
  ];
}

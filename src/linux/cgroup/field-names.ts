// What the limits are called where they come from: errors name the property that the caller wrote.
import type { BlockIoLimits, CgroupResources } from "./cgroup-resources.ts";

export type LimitField = Exclude<keyof CgroupResources, "blockIo"> | keyof BlockIoLimits;

export type FieldNames = Readonly<Record<LimitField, string>>;

/** config-linux.md of the OCI runtime-spec. */
export const ociFieldNames: FieldNames = {
  cpuPeriod: "linux.resources.cpu.period",
  cpuQuota: "linux.resources.cpu.quota",
  cpuBurst: "linux.resources.cpu.burst",
  cpuShares: "linux.resources.cpu.shares",
  cpuIdle: "linux.resources.cpu.idle",
  cpuRealtimePeriod: "linux.resources.cpu.realtimePeriod",
  cpuRealtimeRuntime: "linux.resources.cpu.realtimeRuntime",
  memoryLimitBytes: "linux.resources.memory.limit",
  memorySwapLimitBytes: "linux.resources.memory.swap",
  memoryReservationBytes: "linux.resources.memory.reservation",
  kernelMemoryBytes: "linux.resources.memory.kernel",
  kernelTcpMemoryBytes: "linux.resources.memory.kernelTCP",
  memorySwappiness: "linux.resources.memory.swappiness",
  disableOomKiller: "linux.resources.memory.disableOOMKiller",
  useMemoryHierarchy: "linux.resources.memory.useHierarchy",
  checkMemoryBeforeUpdate: "linux.resources.memory.checkBeforeUpdate",
  cpusetCpus: "linux.resources.cpu.cpus",
  cpusetMems: "linux.resources.cpu.mems",
  hugepageLimits: "linux.resources.hugepageLimits",
  pidsLimit: "linux.resources.pids.limit",
  weight: "linux.resources.blockIO.weight",
  leafWeight: "linux.resources.blockIO.leafWeight",
  weightDevices: "linux.resources.blockIO.weightDevice",
  readBytesPerSecond: "linux.resources.blockIO.throttleReadBpsDevice",
  writeBytesPerSecond: "linux.resources.blockIO.throttleWriteBpsDevice",
  readOperationsPerSecond: "linux.resources.blockIO.throttleReadIOPSDevice",
  writeOperationsPerSecond: "linux.resources.blockIO.throttleWriteIOPSDevice",
  networkClassId: "linux.resources.network.classID",
  networkPriorities: "linux.resources.network.priorities",
  rdma: "linux.resources.rdma",
  unified: "linux.resources.unified",
};

/** LinuxContainerResources of the CRI; it has no names for the others. */
export const criFieldNames: FieldNames = {
  ...ociFieldNames,
  cpuPeriod: "cpu_period",
  cpuQuota: "cpu_quota",
  cpuShares: "cpu_shares",
  memoryLimitBytes: "memory_limit_in_bytes",
  memorySwapLimitBytes: "memory_swap_limit_in_bytes",
  cpusetCpus: "cpuset_cpus",
  cpusetMems: "cpuset_mems",
  hugepageLimits: "hugepage_limits",
  pidsLimit: "the pids limit",
  unified: "unified",
};

// The limits of a cgroup in the CRI's terms, and the conversions between those and the kernel's.
/**
 * What to set. 0, "" and an absent member all mean "leave it", unless said otherwise; -1 means "no limit" where there
 * can be one. The CRI's LinuxContainerResources fits as it is; the rest is what the OCI spec has beyond it.
 */
export interface CgroupResources {
  /** Microseconds. */
  cpuPeriod?: bigint;
  /** Microseconds of CPU time per period. */
  cpuQuota?: bigint;
  /** Microseconds by which quota saved up may be exceeded; 0 is set too. */
  cpuBurst?: bigint;
  /** Relative weight as v1 has it, 1024 is one CPU's request. */
  cpuShares?: bigint;
  /** 1: runs only when nothing else wants to (SCHED_IDLE), and has no weight; 0 ends that. */
  cpuIdle?: bigint;
  /** Microseconds; v1 alone. */
  cpuRealtimePeriod?: bigint;
  /** Microseconds of realtime scheduling per realtime period; v1 alone. */
  cpuRealtimeRuntime?: bigint;
  memoryLimitBytes?: bigint;
  /** Memory and swap together. */
  memorySwapLimitBytes?: bigint;
  /** What reclaim leaves alone for as long as it can. */
  memoryReservationBytes?: bigint;
  /** v1 alone, and there only on kernels that still have it. */
  kernelMemoryBytes?: bigint;
  /** v1 alone. */
  kernelTcpMemoryBytes?: bigint;
  /** 0 to 100; 0 is set too. v1 alone. */
  memorySwappiness?: bigint;
  /** v1 alone. */
  disableOomKiller?: boolean;
  useMemoryHierarchy?: boolean;
  /** An update to less memory than is in use is refused at once, without an attempt at reclaim. */
  checkMemoryBeforeUpdate?: boolean;
  cpusetCpus?: string;
  cpusetMems?: string;
  hugepageLimits?: readonly { pageSize: string; limitBytes: bigint }[];
  pidsLimit?: bigint;
  blockIo?: BlockIoLimits;
  /** net_cls.classid; v1 alone. */
  networkClassId?: number;
  /** By interface of the runtime's own network namespace; v1 alone. */
  networkPriorities?: readonly { name: string; priority: number }[];
  /** By device: mlx4_0. */
  rdma?: Readonly<Record<string, { hcaHandles?: number; hcaObjects?: number }>>;
  /** cgroup v2 files and their values, "memory.high": "1048576". */
  unified?: Readonly<Record<string, string>>;
}

/** Weights are 10 to 1000, rates bytes or operations per second; a rate of 0 takes the limit away. */
export interface BlockIoLimits {
  weight?: number;
  leafWeight?: number;
  weightDevices?: readonly (DeviceNumber & { weight?: number; leafWeight?: number })[];
  readBytesPerSecond?: readonly DeviceRate[];
  writeBytesPerSecond?: readonly DeviceRate[];
  readOperationsPerSecond?: readonly DeviceRate[];
  writeOperationsPerSecond?: readonly DeviceRate[];
}

export interface DeviceNumber {
  major: number;
  minor: number;
}

export type DeviceRate = DeviceNumber & { rate: bigint };

/** What is set: 0 and "" where there is no limit. */
export interface CgroupLimits {
  cpuPeriod: bigint;
  cpuQuota: bigint;
  cpuShares: bigint;
  memoryLimitBytes: bigint;
  memorySwapLimitBytes: bigint;
  cpusetCpus: string;
  cpusetMems: string;
  hugepageLimits: { pageSize: string; limitBytes: bigint }[];
  pidsLimit: bigint;
}

const lowestShares = 2n;
const highestShares = 262_144n;

/**
 * cpu.shares to cpu.weight. The curve goes through (2, 1), (1024, 100) and (262144, 10000), so that one CPU's worth
 * of shares is the default weight; runc and crun use the same one since late 2025.
 */
export function sharesToWeight(shares: bigint): bigint {
  if (shares <= lowestShares) return 1n;
  if (shares >= highestShares) return 10_000n;
  const log = Math.log2(Number(shares));
  return BigInt(Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34)));
}

/** The smallest shares that have this weight: an inverse as good as the curve's rounding allows. */
export function weightToShares(weight: bigint): bigint {
  let [low, high] = [lowestShares, highestShares];
  while (low < high) {
    const middle = (low + high) / 2n;
    if (sharesToWeight(middle) < weight) low = middle + 1n;
    else high = middle;
  }
  return low;
}

/** v1 shows "no limit" as the largest multiple of the page size in a long: anything near it is no limit. */
export const unlimitedBytes = 1n << 62n;

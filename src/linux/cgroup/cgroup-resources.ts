// The limits of a cgroup in the CRI's terms, and the conversions between those and the kernel's.
import { invalidArgument } from "../../base/errors.ts";

/**
 * What to set. 0, "" and an absent member all mean "leave it"; -1 means "no limit" where there can be one. The
 * CRI's LinuxContainerResources fits as it is.
 */
export interface CgroupResources {
  /** Microseconds. */
  cpuPeriod?: bigint;
  /** Microseconds of CPU time per period. */
  cpuQuota?: bigint;
  /** Relative weight as v1 has it, 1024 is one CPU's request. */
  cpuShares?: bigint;
  memoryLimitBytes?: bigint;
  /** Memory and swap together. */
  memorySwapLimitBytes?: bigint;
  cpusetCpus?: string;
  cpusetMems?: string;
  hugepageLimits?: readonly { pageSize: string; limitBytes: bigint }[];
  pidsLimit?: bigint;
  /** cgroup v2 files and their values, "memory.high": "1048576". */
  unified?: Readonly<Record<string, string>>;
}

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

/** One write; "skip" where the file may be missing without the limit being lost. */
export interface CgroupWrite {
  file: string;
  value: string;
  ifMissing: "fail" | "skip";
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

const cpuList = /^\d{1,6}(?:-\d{1,6})?(?:,\d{1,6}(?:-\d{1,6})?)*$/;
const hugepageSize = /^\d{1,10}[KMG]B$/;

/** Checks what needs no look at the machine. Throws invalid-argument naming the field. */
export function checkResources(resources: CgroupResources): void {
  const { memoryLimitBytes: memory = 0n, memorySwapLimitBytes: swap = 0n } = resources;
  if (memory > 0n && swap > 0n && swap < memory)
    throw invalidArgument(`memory_swap_limit_in_bytes ${swap} is less than memory_limit_in_bytes ${memory}`);
  checkCpuList("cpuset_cpus", resources.cpusetCpus);
  checkCpuList("cpuset_mems", resources.cpusetMems);
  for (const { pageSize } of resources.hugepageLimits ?? [])
    if (!hugepageSize.test(pageSize))
      throw invalidArgument(
        `hugepage_limits: page_size ${JSON.stringify(pageSize)} is not a size such as 2MB`,
      );
  for (const key of Object.keys(resources.unified ?? {})) checkUnifiedKey(key);
}

function checkCpuList(field: string, list = ""): void {
  if (list !== "" && !cpuList.test(list))
    throw invalidArgument(`${field} ${JSON.stringify(list)} is not a list such as 0-3,7`);
}

// cgroup.* is left out on purpose: cgroup.kill, cgroup.procs or cgroup.subtree_control are no limits.
const unifiedKey = /^(?:cpu|cpuset|dmem|hugetlb|io|memory|misc|pids|rdma)\.[\w.]+$/;

function checkUnifiedKey(key: string): void {
  if (!unifiedKey.test(key) || key.includes(".."))
    throw invalidArgument(`unified[${JSON.stringify(key)}] is not a file of a resource controller`);
}

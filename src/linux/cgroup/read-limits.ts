// What is set in a cgroup now: the kubelet compares it with what it asked for.
import { parseNumber } from "./cgroup-file.ts";
import {
  sharesToWeight,
  unlimitedBytes,
  weightToShares,
  type CgroupLimits,
  type CgroupResources,
} from "./cgroup-resources.ts";
import { hierarchyOf } from "./layout.ts";
import type { PlanContext } from "./cgroup-write.ts";

type ReadContext = Omit<PlanContext, "names">;

/**
 * Reads the limits back. `asked` is what was set last: v2 knows only the rounded weight of the shares, which are given
 * back as asked where that weight still is the one set; of the hugepage sizes those asked for are read.
 */
export function readLimits(context: ReadContext, asked: CgroupResources = {}): CgroupLimits {
  return {
    ...readCpu(context, asked.cpuShares ?? 0n),
    ...readMemory(context),
    cpusetCpus: readText(context, "cpuset", "cpuset.cpus"),
    cpusetMems: readText(context, "cpuset", "cpuset.mems"),
    hugepageLimits: (asked.hugepageLimits ?? []).map(({ pageSize }) => ({
      pageSize,
      limitBytes: readHugepageLimit(context, pageSize),
    })),
    pidsLimit: limitOf(readText(context, "pids", "pids.max")),
  };
}

function readText({ layout, path, read }: ReadContext, controller: string, file: string): string {
  const hierarchy = hierarchyOf(layout, controller);
  return hierarchy === undefined ? "" : (read(`${hierarchy.root}${path}/${file}`) ?? "").trim();
}

/** "max", -1 and v1's huge value are all "no limit": 0. */
function limitOf(text: string): bigint {
  const value = parseNumber(text);
  return value === undefined || value < 0n || value >= unlimitedBytes ? 0n : value;
}

function readHugepageLimit(context: ReadContext, pageSize: string): bigint {
  const name = hierarchyOf(context.layout, "hugetlb")?.version === 1 ? "limit_in_bytes" : "max";
  return limitOf(readText(context, "hugetlb", `hugetlb.${pageSize}.${name}`));
}

type CpuLimits = Pick<CgroupLimits, "cpuPeriod" | "cpuQuota" | "cpuShares">;

function readCpu(context: ReadContext, asked: bigint): CpuLimits {
  if (hierarchyOf(context.layout, "cpu")?.version === 1)
    return {
      cpuPeriod: limitOf(readText(context, "cpu", "cpu.cfs_period_us")),
      cpuQuota: limitOf(readText(context, "cpu", "cpu.cfs_quota_us")),
      cpuShares: limitOf(readText(context, "cpu", "cpu.shares")),
    };
  const [quota = "", period = ""] = readText(context, "cpu", "cpu.max").split(" ");
  const weight = limitOf(readText(context, "cpu", "cpu.weight"));
  const isAsked = asked !== 0n && sharesToWeight(asked) === weight;
  return {
    cpuPeriod: limitOf(period),
    cpuQuota: limitOf(quota),
    cpuShares: isAsked ? asked : weight === 0n ? 0n : weightToShares(weight),
  };
}

type MemoryLimits = Pick<CgroupLimits, "memoryLimitBytes" | "memorySwapLimitBytes">;

function readMemory(context: ReadContext): MemoryLimits {
  if (hierarchyOf(context.layout, "memory")?.version === 1)
    return {
      memoryLimitBytes: limitOf(readText(context, "memory", "memory.limit_in_bytes")),
      memorySwapLimitBytes: limitOf(readText(context, "memory", "memory.memsw.limit_in_bytes")),
    };
  const memory = limitOf(readText(context, "memory", "memory.max"));
  const swap = parseNumber(readText(context, "memory", "memory.swap.max"));
  // Together, as the CRI has it; without a limit of either there is none of both.
  const together = memory === 0n || swap === undefined ? 0n : memory + swap;
  return { memoryLimitBytes: memory, memorySwapLimitBytes: together };
}

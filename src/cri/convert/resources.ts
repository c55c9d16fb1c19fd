// LinuxContainerResources, both ways. 0 and "" mean "not set" on the wire and inside.
import { invalidArgument } from "../../base/errors.ts";
import type { LinuxResources } from "../../sandbox/sandbox-config.ts";
import { fromInt64, toInt64 } from "../../../cri-api/int64.ts";
import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { bigintWithin, each, integerWithin, text } from "./field.ts";

const int64Max = 2n ** 63n - 1n;
const uint64Max = 2n ** 64n - 1n;
const anySize = { min: 0n, max: int64Max };
// -1 takes a limit away, as in the OCI spec, which the CRI's numbers are handed on to.
const sizeOrNone = { min: -1n, max: int64Max };
const oomScoreAdjRange = { min: -1000n, max: 1000n };
// sched-bwc: the kernel takes periods of 1 ms to 1 s and quotas from 1 ms on.
const minQuotaUs = 1000n;
const periodRange = { min: 1000n, max: 1_000_000n };

export const noResources: LinuxResources = {
  cpuPeriod: 0n,
  cpuQuota: 0n,
  cpuShares: 0n,
  memoryLimitBytes: 0n,
  memorySwapLimitBytes: 0n,
  oomScoreAdj: 0,
  cpusetCpus: "",
  cpusetMems: "",
  hugepageLimits: [],
  unified: {},
};

export function resourcesFromWire(
  wire: v1.LinuxContainerResources | null | undefined,
  at: string,
): LinuxResources {
  if (wire === null || wire === undefined) return { ...noResources, hugepageLimits: [], unified: {} };
  return {
    ...cpuFromWire(wire, at),
    memoryLimitBytes: bigintWithin(
      fromInt64(wire.memoryLimitInBytes),
      sizeOrNone,
      `${at}.memory_limit_in_bytes`,
    ),
    memorySwapLimitBytes: bigintWithin(
      fromInt64(wire.memorySwapLimitInBytes),
      sizeOrNone,
      `${at}.memory_swap_limit_in_bytes`,
    ),
    oomScoreAdj: integerWithin(fromInt64(wire.oomScoreAdj), oomScoreAdjRange, `${at}.oom_score_adj`),
    hugepageLimits: hugepageLimits(wire.hugepageLimits, `${at}.hugepage_limits`),
    unified: unified(wire.unified, `${at}.unified`),
  };
}

type CpuResources = Pick<
  LinuxResources,
  "cpuPeriod" | "cpuQuota" | "cpuShares" | "cpusetCpus" | "cpusetMems"
>;

function cpuFromWire(wire: v1.LinuxContainerResources, at: string): CpuResources {
  const period = fromInt64(wire.cpuPeriod);
  const quota = fromInt64(wire.cpuQuota);
  if (period !== 0n) bigintWithin(period, periodRange, `${at}.cpu_period`);
  if (quota !== 0n && quota !== -1n)
    bigintWithin(quota, { min: minQuotaUs, max: int64Max }, `${at}.cpu_quota`);
  return {
    cpuPeriod: period,
    cpuQuota: quota,
    cpuShares: bigintWithin(fromInt64(wire.cpuShares), anySize, `${at}.cpu_shares`),
    cpusetCpus: cpuset(wire.cpusetCpus, `${at}.cpuset_cpus`),
    cpusetMems: cpuset(wire.cpusetMems, `${at}.cpuset_mems`),
  };
}

// cpuset(7), list format: "0-4,9", also "0-31:2/16" with a stride.
function cpuset(value: string, at: string): string {
  if (value !== "" && !/^\d+(-\d+(:\d+\/\d+)?)?(,\d+(-\d+(:\d+\/\d+)?)?)*$/.test(value))
    throw invalidArgument(`${at} is ${JSON.stringify(value)}: not a list such as "0-3,7"`);
  return value;
}

function hugepageLimits(wire: readonly v1.HugepageLimit[], at: string): LinuxResources["hugepageLimits"] {
  return each(wire, at, (limit, where) => {
    if (!/^[1-9][0-9]*[KMG]B$/.test(limit.pageSize))
      throw invalidArgument(
        `${where}.page_size is ${JSON.stringify(limit.pageSize)}: not a size such as "2MB" or "1GB"`,
      );
    return {
      pageSize: limit.pageSize,
      limitBytes: bigintWithin(fromInt64(limit.limit), { min: 0n, max: uint64Max }, `${where}.limit`),
    };
  });
}

// Keys become file names in the container's cgroup: nothing may lead to another directory.
function unified(wire: Readonly<Record<string, string>>, at: string): Record<string, string> {
  for (const [key, value] of Object.entries(wire)) {
    if (!/^[a-z0-9_]+(\.[A-Za-z0-9_]+)+$/.test(key))
      throw invalidArgument(`${at} has the key ${JSON.stringify(key)}: not a cgroup v2 file`);
    text(value, `${at}[${JSON.stringify(key)}]`);
  }
  return { ...wire };
}

export function resourcesToWire(resources: LinuxResources): v1.LinuxContainerResourcesSent {
  return {
    cpuPeriod: toInt64(resources.cpuPeriod),
    cpuQuota: toInt64(resources.cpuQuota),
    cpuShares: toInt64(resources.cpuShares),
    memoryLimitInBytes: toInt64(resources.memoryLimitBytes),
    memorySwapLimitInBytes: toInt64(resources.memorySwapLimitBytes),
    oomScoreAdj: toInt64(BigInt(resources.oomScoreAdj)),
    cpusetCpus: resources.cpusetCpus,
    cpusetMems: resources.cpusetMems,
    hugepageLimits: resources.hugepageLimits.map((limit) => ({
      pageSize: limit.pageSize,
      limit: toInt64(limit.limitBytes),
    })),
    unified: resources.unified,
  };
}

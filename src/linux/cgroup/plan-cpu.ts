// CPU time, weight and places as writes, in the order that the kernel takes them.
import { failedPrecondition } from "../../base/errors.ts";
import { parseNumber } from "./cgroup-file.ts";
import { sharesToWeight, type CgroupResources } from "./cgroup-resources.ts";
import { isSet, notOnV2, placeOf, type CgroupWrite, type Place, type PlanContext } from "./cgroup-write.ts";

export function cpuWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  return [
    ...weightWrites(resources, context),
    ...bandwidthWrites(resources, context),
    ...realtimeWrites(resources, context),
  ];
}

// An idle cgroup has no weight: the kernel refuses one (EINVAL) until idle is 0 again.
function weightWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  const { cpuShares: shares, cpuIdle: idle } = resources;
  const writes: CgroupWrite[] = [];
  if (idle !== undefined) {
    const place = placeOf("cpu", "cpuIdle", context);
    writes.push(
      idle === 0n
        ? place.writeIfPresent("cpu.idle", 0)
        : place.write("cpu.idle", idle, { needs: "Linux 5.15" }),
    );
  }
  const becomesIdle = idle === 1n || resources.unified?.["cpu.idle"]?.trim() === "1";
  if (!isSet(shares) || becomesIdle) return writes;
  const place = placeOf("cpu", "cpuShares", context);
  if (idle === undefined && place.read("cpu.idle")?.trim() === "1")
    throw failedPrecondition(
      `${context.names.cpuShares} cannot be set: the cgroup is idle (${context.names.cpuIdle}) and so without weight`,
    );
  writes.push(
    place.version === 1
      ? place.write("cpu.shares", shares)
      : place.write("cpu.weight", sharesToWeight(shares)),
  );
  return writes;
}

function bandwidthWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  const { cpuQuota: quota = 0n, cpuPeriod: period = 0n, cpuBurst: burst } = resources;
  const writes: CgroupWrite[] = [];
  if (quota !== 0n || period !== 0n) {
    const place = placeOf("cpu", "cpuQuota", context);
    writes.push(
      ...(place.version === 1 ? quotaWritesV1(quota, period, context) : quotaWritesV2(quota, period, place)),
    );
  }
  if (burst === undefined) return writes;
  const place = placeOf("cpu", "cpuBurst", context);
  const file = place.version === 1 ? "cpu.cfs_burst_us" : "cpu.max.burst";
  const burstWrite =
    burst === 0n ? place.writeIfPresent(file, 0) : place.write(file, burst, { needs: "Linux 5.14" });
  // No burst can be more than its quota, not even in between.
  return burst < (parseNumber(place.read(file)) ?? 0n) ? [burstWrite, ...writes] : [...writes, burstWrite];
}

// Quota and period are two files, and what they allow together may never exceed the parent's, not even in between:
// the write that makes the ratio smaller comes first.
function quotaWritesV1(quota: bigint, period: bigint, context: PlanContext): CgroupWrite[] {
  const quotaPlace = placeOf("cpu", "cpuQuota", context);
  const periodPlace = placeOf("cpu", "cpuPeriod", context);
  const periodNow = period === 0n ? 0n : (parseNumber(periodPlace.read("cpu.cfs_period_us")) ?? 0n);
  const periods = period === periodNow ? [] : [periodPlace.write("cpu.cfs_period_us", period)];
  const quotas = quota === 0n ? [] : [quotaPlace.write("cpu.cfs_quota_us", quota < 0n ? -1n : quota)];
  return period >= periodNow ? [...periods, ...quotas] : [...quotas, ...periods];
}

function quotaWritesV2(quota: bigint, period: bigint, place: Place): CgroupWrite[] {
  const [quotaNow = "max", periodNow = "100000"] = (place.read("cpu.max") ?? "").trim().split(" ");
  const quotaText = quota === 0n ? quotaNow || "max" : quota < 0n ? "max" : String(quota);
  return [place.write("cpu.max", `${quotaText} ${period === 0n ? periodNow : period}`)];
}

function realtimeWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  const { cpuRealtimeRuntime: runtime = 0n, cpuRealtimePeriod: period = 0n } = resources;
  if (runtime === 0n && period === 0n) return [];
  const runtimePlace = placeOf("cpu", "cpuRealtimeRuntime", context);
  const periodPlace = placeOf("cpu", "cpuRealtimePeriod", context);
  if (runtimePlace.version === 2)
    throw runtime === 0n
      ? notOnV2(context.names.cpuRealtimePeriod, "cpu.rt_period_us")
      : notOnV2(context.names.cpuRealtimeRuntime, "cpu.rt_runtime_us");
  const needs = { needs: "CONFIG_RT_GROUP_SCHED" };
  const runtimes = runtime === 0n ? [] : [runtimePlace.write("cpu.rt_runtime_us", runtime, needs)];
  const periods = period === 0n ? [] : [periodPlace.write("cpu.rt_period_us", period, needs)];
  const periodNow = parseNumber(periodPlace.read("cpu.rt_period_us")) ?? 0n;
  // As with the quota: the smaller share of time first.
  return period >= periodNow ? [...periods, ...runtimes] : [...runtimes, ...periods];
}

export function cpusetWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  const { cpusetCpus = "", cpusetMems = "" } = resources;
  return [
    ...(cpusetCpus === "" ? [] : [placeOf("cpuset", "cpusetCpus", context).write("cpuset.cpus", cpusetCpus)]),
    ...(cpusetMems === "" ? [] : [placeOf("cpuset", "cpusetMems", context).write("cpuset.mems", cpusetMems)]),
  ];
}

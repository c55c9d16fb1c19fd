// From limits to writes: which files, which values, in which order. Pure but for the values read from the cgroup.
import { failedPrecondition, invalidArgument } from "../../base/errors.ts";
import { parseNumber } from "./cgroup-file.ts";
import {
  checkResources,
  sharesToWeight,
  unlimitedBytes,
  type CgroupResources,
  type CgroupWrite,
} from "./cgroup-resources.ts";
import { hierarchyOf, type CgroupLayout } from "./layout.ts";

export interface PlanContext {
  layout: CgroupLayout;
  /** Checked cgroup path. */
  path: string;
  read: (file: string) => string | undefined;
}

/**
 * The writes that set `resources`. Throws invalid-argument for a value that cannot be, failed-precondition when a
 * limit needs a controller that the machine does not have.
 */
export function planWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  checkResources(resources);
  return [
    ...memoryWrites(resources, context),
    ...cpuWrites(resources, context),
    ...cpusetWrites(resources, context),
    ...pidsWrites(resources, context),
    ...hugepageWrites(resources, context),
    ...unifiedWrites(resources, context),
  ];
}

interface Place {
  version: 1 | 2;
  file(name: string): string;
}

function placeOf(controller: string, limit: string, { layout, path }: PlanContext): Place {
  const hierarchy = hierarchyOf(layout, controller);
  if (hierarchy === undefined)
    throw failedPrecondition(`${limit} cannot be set: the machine has no ${controller} cgroup controller`);
  return { version: hierarchy.version, file: (name) => `${hierarchy.root}${path}/${name}` };
}

const write = (file: string, value: bigint | string): CgroupWrite => ({
  file,
  value: String(value),
  ifMissing: "fail",
});

const writeIfPresent = (file: string, value: bigint | string): CgroupWrite => ({
  ...write(file, value),
  ifMissing: "skip",
});

const isSet = (value: bigint | undefined): value is bigint => value !== undefined && value !== 0n;

function memoryWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  const { memoryLimitBytes: memory = 0n, memorySwapLimitBytes: swap = 0n } = resources;
  if (memory === 0n && swap === 0n) return [];
  const place = placeOf(
    "memory",
    memory === 0n ? "memory_swap_limit_in_bytes" : "memory_limit_in_bytes",
    context,
  );
  return place.version === 1
    ? memoryWritesV1(memory, swap, place, context.read)
    : memoryWritesV2(memory, swap, place, context.read);
}

type Read = PlanContext["read"];

// The kernel demands limit <= memsw limit after every single write: raise the outer one first, lower the inner first.
function memoryWritesV1(memory: bigint, swap: bigint, place: Place, read: Read): CgroupWrite[] {
  const limitFile = place.file("memory.limit_in_bytes");
  const memswFile = place.file("memory.memsw.limit_in_bytes");
  const limitNow = orUnlimited(parseNumber(read(limitFile)) ?? unlimitedBytes);
  // Without swap accounting (swapaccount=0) there is no such file, and a swap limit has nothing to hold.
  const memswText = parseNumber(read(memswFile));
  const limit = memory === 0n ? limitNow : orUnlimited(memory);
  const limitWrites = memory === 0n ? [] : [write(limitFile, memory < 0n ? -1n : memory)];
  if (memswText === undefined) return limitWrites;
  const memswNow = orUnlimited(memswText);
  const memsw = memswTarget(swap, limit, { limitNow, memswNow });
  if (memsw < limit)
    throw invalidArgument(`memory_swap_limit_in_bytes ${memsw} is less than the memory limit ${limit}`);
  if (memsw === memswNow) return limitWrites;
  const memswWrite = write(memswFile, memsw >= unlimitedBytes ? -1n : memsw);
  return memsw > memswNow ? [memswWrite, ...limitWrites] : [...limitWrites, memswWrite];
}

function memswTarget(swap: bigint, limit: bigint, now: { limitNow: bigint; memswNow: bigint }): bigint {
  if (swap !== 0n) return orUnlimited(swap);
  if (now.memswNow >= unlimitedBytes) return now.memswNow;
  // Only the memory limit changes: the swap on top of it stays what it was, as in v2, where the two are apart.
  return limit >= unlimitedBytes ? unlimitedBytes : limit + (now.memswNow - now.limitNow);
}

const orUnlimited = (bytes: bigint): bigint =>
  bytes < 0n || bytes > unlimitedBytes ? unlimitedBytes : bytes;

// memory.swap.max counts swap alone, the CRI's value both together.
function memoryWritesV2(memory: bigint, swap: bigint, place: Place, read: Read): CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  const limitFile = place.file("memory.max");
  if (memory !== 0n) writes.push(write(limitFile, memory < 0n ? "max" : memory));
  if (swap === 0n) return writes;
  const limit = memory === 0n ? parseNumber(read(limitFile)) : memory;
  const swapOnly = swap < 0n || limit === undefined || limit < 0n ? "max" : swap - limit;
  if (typeof swapOnly === "bigint" && swapOnly < 0n)
    throw invalidArgument(`memory_swap_limit_in_bytes ${swap} is less than the memory limit ${limit}`);
  // Missing on kernels without swap: there is none to limit.
  writes.push(writeIfPresent(place.file("memory.swap.max"), swapOnly));
  return writes;
}

function cpuWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  const { cpuShares = 0n, cpuQuota = 0n, cpuPeriod = 0n } = resources;
  if (cpuShares === 0n && cpuQuota === 0n && cpuPeriod === 0n) return [];
  const place = placeOf("cpu", cpuShares === 0n ? "cpu_quota" : "cpu_shares", context);
  if (place.version === 1) {
    const shares = cpuShares === 0n ? [] : [write(place.file("cpu.shares"), cpuShares)];
    return [...shares, ...bandwidthWritesV1(cpuQuota, cpuPeriod, place, context.read)];
  }
  const weight = cpuShares === 0n ? [] : [write(place.file("cpu.weight"), sharesToWeight(cpuShares))];
  return [...weight, ...bandwidthWritesV2(cpuQuota, cpuPeriod, place, context.read)];
}

// Quota and period are two files, and what they allow together may never exceed the parent's, not even in between:
// the write that makes the ratio smaller comes first.
function bandwidthWritesV1(quota: bigint, period: bigint, place: Place, read: Read): CgroupWrite[] {
  const periodFile = place.file("cpu.cfs_period_us");
  const periodNow = period === 0n ? 0n : (parseNumber(read(periodFile)) ?? 0n);
  const periodWrites = period === periodNow ? [] : [write(periodFile, period)];
  const quotaWrites = quota === 0n ? [] : [write(place.file("cpu.cfs_quota_us"), quota < 0n ? -1n : quota)];
  return period >= periodNow ? [...periodWrites, ...quotaWrites] : [...quotaWrites, ...periodWrites];
}

function bandwidthWritesV2(quota: bigint, period: bigint, place: Place, read: Read): CgroupWrite[] {
  if (quota === 0n && period === 0n) return [];
  const file = place.file("cpu.max");
  const [quotaNow = "max", periodNow = "100000"] = (read(file) ?? "").trim().split(" ");
  const quotaText = quota === 0n ? quotaNow || "max" : quota < 0n ? "max" : String(quota);
  return [write(file, `${quotaText} ${period === 0n ? periodNow : period}`)];
}

function cpusetWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  const { cpusetCpus = "", cpusetMems = "" } = resources;
  if (cpusetCpus === "" && cpusetMems === "") return [];
  const place = placeOf("cpuset", cpusetCpus === "" ? "cpuset_mems" : "cpuset_cpus", context);
  return [
    ...(cpusetCpus === "" ? [] : [write(place.file("cpuset.cpus"), cpusetCpus)]),
    ...(cpusetMems === "" ? [] : [write(place.file("cpuset.mems"), cpusetMems)]),
  ];
}

function pidsWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  const limit = resources.pidsLimit;
  if (!isSet(limit)) return [];
  return [write(placeOf("pids", "the pids limit", context).file("pids.max"), limit < 0n ? "max" : limit)];
}

function hugepageWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  return (resources.hugepageLimits ?? []).flatMap(({ pageSize, limitBytes }) => {
    // The kubelet sends 0 for every size of the machine: without the controller nothing is lost by leaving it.
    if (limitBytes === 0n && hierarchyOf(context.layout, "hugetlb") === undefined) return [];
    const place = placeOf("hugetlb", `the hugepage limit of ${pageSize}`, context);
    const prefix = `hugetlb.${pageSize}`;
    const [limit, reserved] =
      place.version === 1 ? ["limit_in_bytes", "rsvd.limit_in_bytes"] : ["max", "rsvd.max"];
    return [
      // No page of this size on the machine: a limit of 0 holds by itself.
      (limitBytes === 0n ? writeIfPresent : write)(place.file(`${prefix}.${limit}`), limitBytes),
      // Linux 5.7: counts at mmap, so that a process gets ENOMEM there and not SIGBUS at its first touch.
      writeIfPresent(place.file(`${prefix}.${reserved}`), limitBytes),
    ];
  });
}

function unifiedWrites(resources: CgroupResources, { layout, path }: PlanContext): CgroupWrite[] {
  return Object.entries(resources.unified ?? {}).flatMap(([key, value]) => {
    const controller = key.slice(0, key.indexOf("."));
    if (layout.unified?.controllers.includes(controller) !== true)
      throw failedPrecondition(
        layout.unified === undefined || layout.kind === "hybrid"
          ? `unified[${JSON.stringify(key)}] cannot be set: the ${controller} controller is not on cgroup v2`
          : `unified[${JSON.stringify(key)}] cannot be set: the machine has no ${controller} cgroup controller`,
      );
    const file = `${layout.unified.root}${path}/${key}`;
    // io.max and its like take one device a write.
    return value
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => write(file, line));
  });
}

// Memory limits as writes, in the order that the kernel takes them.
import { invalidArgument } from "../../base/errors.ts";
import { parseNumber } from "./cgroup-file.ts";
import { unlimitedBytes, type CgroupResources } from "./cgroup-resources.ts";
import { isSet, notOnV2, placeOf, type CgroupWrite, type Place, type PlanContext } from "./cgroup-write.ts";
import type { FieldNames } from "./field-names.ts";

export function memoryWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  return [...limitWrites(resources, context), ...otherWrites(resources, context)];
}

interface Limits {
  memory: bigint;
  swap: bigint;
  names: FieldNames;
}

function limitWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  const { memoryLimitBytes: memory = 0n, memorySwapLimitBytes: swap = 0n } = resources;
  if (memory === 0n && swap === 0n) return [];
  const limit = placeOf("memory", "memoryLimitBytes", context);
  const memsw = placeOf("memory", "memorySwapLimitBytes", context);
  const limits = { memory, swap, names: context.names };
  if (limit.version === 1) return limitWritesV1(limits, limit, memsw);
  // As with v1: no limit of memory, and no word about swap, is no limit of both.
  const both = swap === 0n && memory < 0n ? -1n : swap;
  return limitWritesV2({ ...limits, swap: both }, limit, memsw);
}

// The kernel demands limit <= memsw limit after every single write: raise the outer one first, lower the inner first.
function limitWritesV1({ memory, swap, names }: Limits, limitPlace: Place, memswPlace: Place): CgroupWrite[] {
  const limitNow = orUnlimited(parseNumber(limitPlace.read("memory.limit_in_bytes")) ?? unlimitedBytes);
  // Without swap accounting (swapaccount=0) there is no such file, and a swap limit has nothing to hold.
  const memswText = parseNumber(memswPlace.read("memory.memsw.limit_in_bytes"));
  const limit = memory === 0n ? limitNow : orUnlimited(memory);
  const writes = memory === 0n ? [] : [limitPlace.write("memory.limit_in_bytes", memory < 0n ? -1n : memory)];
  if (memswText === undefined) return writes;
  const memswNow = orUnlimited(memswText);
  const memsw = memswTarget(swap, limit, { limitNow, memswNow });
  if (memsw < limit)
    throw invalidArgument(`${names.memorySwapLimitBytes} ${memsw} is less than the memory limit ${limit}`);
  if (memsw === memswNow) return writes;
  const memswWrite = memswPlace.write("memory.memsw.limit_in_bytes", memsw >= unlimitedBytes ? -1n : memsw);
  return memsw > memswNow ? [memswWrite, ...writes] : [...writes, memswWrite];
}

function memswTarget(swap: bigint, limit: bigint, now: { limitNow: bigint; memswNow: bigint }): bigint {
  if (swap !== 0n) return orUnlimited(swap);
  if (now.memswNow >= unlimitedBytes) return now.memswNow;
  // Only the memory limit changes: the swap on top of it stays what it was, as in v2, where the two are apart.
  return limit >= unlimitedBytes ? unlimitedBytes : limit + (now.memswNow - now.limitNow);
}

const orUnlimited = (bytes: bigint): bigint =>
  bytes < 0n || bytes > unlimitedBytes ? unlimitedBytes : bytes;

// memory.swap.max counts swap alone, the caller's value both together.
function limitWritesV2({ memory, swap, names }: Limits, limitPlace: Place, swapPlace: Place): CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  if (memory !== 0n) writes.push(limitPlace.write("memory.max", memory < 0n ? "max" : memory));
  if (swap === 0n) return writes;
  const limit = memory === 0n ? parseNumber(limitPlace.read("memory.max")) : memory;
  if (swap > 0n && (limit === undefined || limit < 0n))
    throw invalidArgument(
      `${names.memorySwapLimitBytes} ${swap} counts memory and swap together: it needs a memory limit`,
    );
  const swapOnly = swap < 0n || limit === undefined ? "max" : swap - limit;
  if (typeof swapOnly === "bigint" && swapOnly < 0n)
    throw invalidArgument(`${names.memorySwapLimitBytes} ${swap} is less than the memory limit ${limit}`);
  // Missing on kernels without swap: there is none to limit.
  writes.push(swapPlace.writeIfPresent("memory.swap.max", swapOnly));
  return writes;
}

function otherWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  const { memoryReservationBytes: reservation } = resources;
  const writes: CgroupWrite[] = [];
  if (isSet(reservation)) {
    const place = placeOf("memory", "memoryReservationBytes", context);
    // crun and runc map it so: what v2 protects is what v1 reclaims down to.
    writes.push(
      place.version === 1
        ? place.write("memory.soft_limit_in_bytes", reservation < 0n ? -1n : reservation)
        : place.write("memory.low", reservation < 0n ? "max" : reservation),
    );
  }
  return [...writes, ...kernelMemoryWrites(resources, context), ...behaviourWrites(resources, context)];
}

function kernelMemoryWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  const files = [
    ["kernelMemoryBytes", "memory.kmem.limit_in_bytes"],
    ["kernelTcpMemoryBytes", "memory.kmem.tcp.limit_in_bytes"],
  ] as const;
  return files.flatMap(([field, file]) => {
    const bytes = resources[field];
    if (!isSet(bytes)) return [];
    const place = placeOf("memory", field, context);
    if (place.version === 1)
      return bytes < 0n
        ? [place.writeIfPresent(file, -1n)]
        : [place.write(file, bytes, { needs: "a kernel that counts this memory apart" })];
    if (bytes < 0n) return [];
    throw notOnV2(context.names[field], file);
  });
}

function behaviourWrites(resources: CgroupResources, context: PlanContext): CgroupWrite[] {
  const { memorySwappiness: swappiness, disableOomKiller, useMemoryHierarchy } = resources;
  const writes: CgroupWrite[] = [];
  if (swappiness !== undefined) {
    const place = placeOf("memory", "memorySwappiness", context);
    if (place.version === 2) throw notOnV2(context.names.memorySwappiness, "memory.swappiness");
    writes.push(place.write("memory.swappiness", swappiness));
  }
  if (disableOomKiller !== undefined) writes.push(...oomKillerWrites(disableOomKiller, context));
  if (useMemoryHierarchy === true) {
    const place = placeOf("memory", "useMemoryHierarchy", context);
    // v2 and kernels since 5.11 know nothing else; it can be written only before there are children.
    if (place.version === 1 && place.read("memory.use_hierarchy")?.trim() === "0")
      writes.push(place.write("memory.use_hierarchy", 1));
  }
  return writes;
}

function oomKillerWrites(disable: boolean, context: PlanContext): CgroupWrite[] {
  if (!disable) {
    // Engines write false for what they leave alone; only where it is off there is something to do.
    if (context.layout.kind === "v2") return [];
    const place = placeOf("memory", "disableOomKiller", context);
    const isOff = /^oom_kill_disable 1$/m.test(place.read("memory.oom_control") ?? "");
    return place.version === 1 && isOff ? [place.write("memory.oom_control", 0)] : [];
  }
  const place = placeOf("memory", "disableOomKiller", context);
  if (place.version === 2) throw notOnV2(context.names.disableOomKiller, "memory.oom_control");
  return [place.write("memory.oom_control", 1)];
}

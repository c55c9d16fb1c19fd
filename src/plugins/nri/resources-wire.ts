// Resources between NRI's messages, the CRI's terms and those of the OCI spec.
import { CricketError } from "../../base/errors.ts";
import { fromInt64, toInt64 } from "../../../cri-api/int64.ts";
import type { v1 } from "../../../cri-api/nri/v1/api.js";
import type { ResourceChange } from "../../container/container-participant.ts";
import type { CgroupResources } from "../../linux/cgroup/cgroup-resources.ts";
import { cgroupResourcesOf } from "../../oci/runtime/cgroup-limits.ts";
import type { DeviceRule, Resources } from "../../oci/linux-spec.ts";
import type { LinuxResources } from "../../sandbox/sandbox-config.ts";

const wrap = (value: bigint): { value: ReturnType<typeof toInt64> } => ({ value: toInt64(value) });

/** What is 0 or "" is not set. */
export function resourcesToWire(resources: LinuxResources): v1.LinuxResourcesSent {
  const { cpuPeriod, cpuQuota, cpuShares, memoryLimitBytes, memorySwapLimitBytes } = resources;
  return {
    memory: {
      ...(memoryLimitBytes === 0n ? {} : { limit: wrap(memoryLimitBytes) }),
      ...(memorySwapLimitBytes === 0n ? {} : { swap: wrap(memorySwapLimitBytes) }),
    },
    cpu: {
      ...(cpuShares === 0n ? {} : { shares: wrap(cpuShares) }),
      ...(cpuQuota === 0n ? {} : { quota: wrap(cpuQuota) }),
      ...(cpuPeriod === 0n ? {} : { period: wrap(cpuPeriod) }),
      cpus: resources.cpusetCpus,
      mems: resources.cpusetMems,
    },
    hugepageLimits: resources.hugepageLimits.map(({ pageSize, limitBytes }) => ({
      pageSize,
      limit: toInt64(limitBytes),
    })),
    unified: resources.unified,
  };
}

/** Device rules and the limit on tasks, which the CRI's resources do not have. */
export function specResourcesToWire({ devices = [], pids }: Resources): v1.LinuxResourcesSent {
  return {
    devices: devices.map(({ allow, type, major, minor, access }) => ({
      allow,
      type: type ?? "a",
      ...(major === undefined ? {} : { major: wrap(BigInt(major)) }),
      ...(minor === undefined ? {} : { minor: wrap(BigInt(minor)) }),
      access: access ?? "",
    })),
    ...(pids === undefined ? {} : { pids: { limit: toInt64(pids.limit) } }),
  };
}

/** An update in the CRI's terms. @throws CricketError unimplemented naming a class: a container stays in its own */
export function resourcesFromWire(wire: v1.LinuxResourcesSent): ResourceChange {
  refuseClasses(wire);
  const [memory, cpu] = [wire.memory ?? {}, wire.cpu ?? {}];
  return {
    resources: {
      cpuPeriod: fromInt64(cpu.period?.value),
      cpuQuota: fromInt64(cpu.quota?.value),
      cpuShares: fromInt64(cpu.shares?.value),
      memoryLimitBytes: fromInt64(memory.limit?.value),
      memorySwapLimitBytes: fromInt64(memory.swap?.value),
      oomScoreAdj: 0,
      cpusetCpus: cpu.cpus ?? "",
      cpusetMems: cpu.mems ?? "",
      hugepageLimits: hugepagesOf(wire).map(([pageSize, limitBytes]) => ({ pageSize, limitBytes })),
      unified: { ...wire.unified },
    },
    more: beyondCri(wire),
  };
}

function beyondCri(wire: v1.LinuxResourcesSent): CgroupResources {
  const { limit: _limit, swap: _swap, ...memory } = specMemory(wire.memory ?? {});
  const {
    shares: _shares,
    quota: _quota,
    period: _period,
    cpus: _cpus,
    mems: _mems,
    ...cpu
  } = specCpu(wire.cpu ?? {});
  return cgroupResourcesOf({
    memory,
    cpu,
    ...(isSet(wire.pids) ? { pids: { limit: fromInt64(wire.pids?.limit) } } : {}),
  });
}

/** An adjustment in the spec's terms, without the classes. */
export function specResourcesFromWire(wire: v1.LinuxResourcesSent): Resources {
  const memory = specMemory(wire.memory ?? {});
  const cpu = specCpu(wire.cpu ?? {});
  const hugepages = hugepagesOf(wire);
  return {
    ...(Object.keys(memory).length === 0 ? {} : { memory }),
    ...(Object.keys(cpu).length === 0 ? {} : { cpu }),
    ...(isSet(wire.pids) ? { pids: { limit: fromInt64(wire.pids?.limit) } } : {}),
    ...(hugepages.length === 0
      ? {}
      : {
          hugepageLimits: hugepages.map(([pageSize, limit]) => ({ pageSize, limit })),
        }),
    ...(Object.keys(wire.unified ?? {}).length === 0 ? {} : { unified: { ...wire.unified } }),
    devices: (wire.devices ?? []).map(specDeviceRule),
  };
}

function hugepagesOf({ hugepageLimits }: v1.LinuxResourcesSent): [pageSize: string, limit: bigint][] {
  return (hugepageLimits ?? []).map(({ pageSize, limit }) => [pageSize ?? "", fromInt64(limit)]);
}

function specMemory(memory: v1.LinuxMemorySent): NonNullable<Resources["memory"]> {
  const limit = valueOf(memory.limit);
  return pick({
    limit,
    // A limit alone: without swap beyond it, as every runtime of the field has it.
    swap: valueOf(memory.swap) ?? limit,
    reservation: valueOf(memory.reservation),
    kernel: valueOf(memory.kernel),
    kernelTCP: valueOf(memory.kernelTcp),
    swappiness: valueOf(memory.swappiness),
    disableOOMKiller: memory.disableOomKiller?.value,
    useHierarchy: memory.useHierarchy?.value,
  });
}

function specCpu(cpu: v1.LinuxCPUSent): NonNullable<Resources["cpu"]> {
  return pick({
    shares: valueOf(cpu.shares),
    quota: valueOf(cpu.quota),
    period: valueOf(cpu.period),
    realtimeRuntime: valueOf(cpu.realtimeRuntime),
    realtimePeriod: valueOf(cpu.realtimePeriod),
    cpus: cpu.cpus === "" ? undefined : cpu.cpus,
    mems: cpu.mems === "" ? undefined : cpu.mems,
  });
}

function specDeviceRule({ allow, type, major, minor, access }: v1.LinuxDeviceCgroupSent): DeviceRule {
  return {
    allow: allow ?? false,
    ...(type === "c" || type === "b" ? { type } : {}),
    ...pick({ major: numberOf(major), minor: numberOf(minor) }),
    access: access ?? "",
  };
}

// Limits of the old class that the new one does not have would have to be found and taken away.
function refuseClasses({ blockioClass, rdtClass }: v1.LinuxResourcesSent): void {
  for (const [what, given] of Object.entries({ "block I/O": blockioClass, RDT: rdtClass }))
    if (isSet(given))
      throw new CricketError(
        "unimplemented",
        `a plugin changes the ${what} class of a container that exists, which is not implemented`,
      );
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function valueOf(value: { value?: Parameters<typeof fromInt64>[0] } | null | undefined): bigint | undefined {
  return value === undefined || value === null ? undefined : fromInt64(value.value);
}

function numberOf(value: v1.OptionalInt64Sent | null | undefined): number | undefined {
  const number = valueOf(value);
  // -1: all.
  return number === undefined || number < 0n ? undefined : Number(number);
}

/** Undefined where there is nothing to convert. */
export function given<T, Result>(
  value: T | null | undefined,
  convert: (value: T) => Result,
): Result | undefined {
  return value === undefined || value === null ? undefined : convert(value);
}

type Given<T> = { [K in keyof T]: Exclude<T[K], undefined | null> };

/** The members that are there. */
export function pick<T extends object>(members: T): Partial<Given<T>> {
  return Object.fromEntries(
    Object.entries(members).filter(([, value]) => value !== undefined && value !== null),
  ) as Partial<Given<T>>;
}

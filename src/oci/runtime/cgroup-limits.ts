// linux.resources and linux.cgroupsPath in the terms of CgroupManager.
import { invalidArgument } from "../../base/errors.ts";
import type { BlockIoLimits, CgroupResources } from "../../linux/cgroup/cgroup-resources.ts";
import type {
  BlockIoResources,
  CpuResources,
  DeviceRule,
  Linux,
  MemoryResources,
  Resources,
} from "../linux-spec.ts";

/** Where containers go whose spec does not say. */
export const ownCgroupParent = "/cricket-oci";

/** config-linux.md#cgroups-path: absolute, or below the runtime's own place. */
export function cgroupPathOf(id: string, path: string | undefined): string {
  if (path === undefined || path === "") return `${ownCgroupParent}/${id}`;
  if (/^[^/]*:[^/]*:/.test(path))
    throw invalidArgument(
      `linux.cgroupsPath ${JSON.stringify(path)} is systemd's form: it needs --systemd-cgroup`,
    );
  return path.startsWith("/") ? path : `${ownCgroupParent}/${path}`;
}

export function cgroupResourcesOf(resources: Resources): CgroupResources {
  const { pids, hugepageLimits, network = {}, rdma, unified } = resources;
  return given<CgroupResources>({
    ...memoryOf(resources.memory ?? {}),
    ...cpuOf(resources.cpu ?? {}),
    pidsLimit: pids?.limit,
    hugepageLimits: hugepageLimits?.map(({ pageSize, limit }) => ({ pageSize, limitBytes: limit })),
    ...(resources.blockIO === undefined ? {} : blockIoOf(resources.blockIO)),
    networkClassId: network.classID,
    networkPriorities: network.priorities,
    rdma,
    unified,
  });
}

type Optional<T> = { [K in keyof T]?: T[K] | undefined };

/** Without the properties that are undefined. */
function given<T extends object>(value: Optional<T>): T {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as T;
}

function memoryOf(memory: MemoryResources): Optional<CgroupResources> {
  return {
    memoryLimitBytes: memory.limit,
    memorySwapLimitBytes: memory.swap,
    memoryReservationBytes: memory.reservation,
    kernelMemoryBytes: memory.kernel,
    kernelTcpMemoryBytes: memory.kernelTCP,
    memorySwappiness: memory.swappiness,
    disableOomKiller: memory.disableOOMKiller,
    useMemoryHierarchy: memory.useHierarchy,
    checkMemoryBeforeUpdate: memory.checkBeforeUpdate,
  };
}

function cpuOf(cpu: CpuResources): Optional<CgroupResources> {
  return {
    cpuShares: cpu.shares,
    cpuQuota: cpu.quota,
    cpuBurst: cpu.burst,
    cpuPeriod: cpu.period,
    cpuRealtimeRuntime: cpu.realtimeRuntime,
    cpuRealtimePeriod: cpu.realtimePeriod,
    cpusetCpus: cpu.cpus,
    cpusetMems: cpu.mems,
    cpuIdle: cpu.idle,
  };
}

function blockIoOf(blockIO: BlockIoResources): Pick<CgroupResources, "blockIo"> {
  return {
    blockIo: given<BlockIoLimits>({
      weight: blockIO.weight,
      leafWeight: blockIO.leafWeight,
      weightDevices: blockIO.weightDevice,
      readBytesPerSecond: blockIO.throttleReadBpsDevice,
      writeBytesPerSecond: blockIO.throttleWriteBpsDevice,
      readOperationsPerSecond: blockIO.throttleReadIOPSDevice,
      writeOperationsPerSecond: blockIO.throttleWriteIOPSDevice,
    }),
  };
}

const character = (major: number, minor?: number): DeviceRule => ({
  allow: true,
  type: "c",
  major,
  ...(minor === undefined ? {} : { minor }),
  access: "rwm",
});

/**
 * Nothing, then the spec's rules, then what no container goes without: the default devices, terminals, and mknod. As with
 * runc, who wants all devices says so.
 */
export function deviceRulesOf(linux: Linux): DeviceRule[] {
  const own = (linux.devices ?? [])
    .filter(({ type }) => type !== "p")
    .map(({ type, major = 0, minor = 0 }): DeviceRule => ({
      allow: true,
      type: type === "b" ? "b" : "c",
      major,
      minor,
      access: "rwm",
    }));
  return [
    { allow: false },
    ...(linux.resources?.devices ?? []),
    ...own,
    { allow: true, type: "c", access: "m" },
    { allow: true, type: "b", access: "m" },
    ...[3, 5, 7, 8, 9].map((minor) => character(1, minor)),
    character(5, 0),
    character(5, 2),
    character(136),
  ];
}

/** "10485760", "512k", "64m", "2g", as command lines have it; -1 is no limit. */
export function parseBytes(text: string, option: string): bigint {
  const match = /^(-1|\d+)([bkmgt]?)b?$/i.exec(text);
  if (match?.[1] === undefined) throw invalidArgument(`${option}: ${JSON.stringify(text)} is not a size`);
  const power = BigInt("bkmgt".indexOf((match[2] === "" ? "b" : (match[2] ?? "b")).toLowerCase()));
  return match[1] === "-1" ? -1n : BigInt(match[1]) * 1024n ** power;
}

// linux.resources and linux.cgroupsPath in the terms of CgroupManager.
import { CricketError, invalidArgument } from "../../base/errors.ts";
import type { CgroupResources } from "../../linux/cgroup/cgroup-resources.ts";
import type { DeviceRule, Linux, MemoryResources, Resources } from "../linux-spec.ts";

/** Where containers go whose spec does not say. */
export const ownCgroupParent = "/cricket-oci";

/** config-linux.md#cgroups-path: absolute, or below the runtime's own place. */
export function cgroupPathOf(id: string, path: string | undefined): string {
  if (path === undefined || path === "") return `${ownCgroupParent}/${id}`;
  if (/^[^/]*:[^/]*:/.test(path))
    throw new CricketError("unimplemented", "linux.cgroupsPath: systemd's form is not implemented yet");
  return path.startsWith("/") ? path : `${ownCgroupParent}/${path}`;
}

/** @throws CricketError unimplemented naming a property that cannot be set yet */
export function cgroupResourcesOf(resources: Resources): CgroupResources {
  refuseOthers(resources);
  const { memory = {}, cpu = {}, pids, hugepageLimits, unified } = resources;
  return {
    ...pick("memoryLimitBytes", memory.limit),
    ...pick("memorySwapLimitBytes", memory.swap),
    ...pick("cpuShares", cpu.shares),
    ...pick("cpuQuota", cpu.quota),
    ...pick("cpuPeriod", cpu.period),
    ...(cpu.cpus === undefined ? {} : { cpusetCpus: cpu.cpus }),
    ...(cpu.mems === undefined ? {} : { cpusetMems: cpu.mems }),
    ...pick("pidsLimit", pids?.limit),
    ...(hugepageLimits === undefined
      ? {}
      : { hugepageLimits: hugepageLimits.map(({ pageSize, limit }) => ({ pageSize, limitBytes: limit })) }),
    ...(unified === undefined ? {} : { unified }),
  };
}

function pick(name: keyof CgroupResources, value: bigint | undefined): Partial<CgroupResources> {
  return value === undefined ? {} : { [name]: value };
}

// Zero, false and empty ask for nothing: engines write them for what they leave alone.
function refuseOthers({ memory = {}, cpu = {}, blockIO, network, rdma }: Resources): void {
  const left: (keyof MemoryResources)[] = ["reservation", "kernelTCP", "swappiness", "disableOOMKiller"];
  for (const name of left) if (asks(memory[name])) refuse(`memory.${name}`);
  for (const name of ["burst", "realtimeRuntime", "realtimePeriod", "idle"] as const)
    if (asks(cpu[name])) refuse(`cpu.${name}`);
  for (const [name, value] of Object.entries({ blockIO, network, rdma }))
    for (const [key, entry] of Object.entries(value ?? {})) if (asks(entry)) refuse(`${name}.${key}`);
}

function asks(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  return value !== undefined && value !== false && value !== 0 && value !== 0n;
}

function refuse(name: string): never {
  throw new CricketError("unimplemented", `linux.resources.${name} is not implemented yet`);
}

const character = (major: number, minor?: number): DeviceRule => ({
  allow: true,
  type: "c",
  major,
  ...(minor === undefined ? {} : { minor }),
  access: "rwm",
});

/** The spec's rules, then what no container goes without: the default devices, terminals, and mknod. */
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

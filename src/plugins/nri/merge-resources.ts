// Resources that plugins set, field by field: in adjustments of a new container and in updates of an existing one.
import type { v1 } from "../../../cri-api/nri/v1/api.js";
import type { FieldName, FieldOwners } from "./field-owners.ts";

/** Claims one field for the plugin whose answer is being merged. */
export type Claim = (name: FieldName, key?: string) => void;

export function claimFor(owners: FieldOwners, containerId: string, plugin: string): Claim {
  return (name, key) => owners.claim(containerId, plugin, name, key);
}

const memoryFields = {
  limit: "memoryLimit",
  reservation: "memoryReservation",
  swap: "memorySwap",
  kernel: "memoryKernel",
  kernelTcp: "memoryKernelTcp",
  swappiness: "memorySwappiness",
  disableOomKiller: "memoryDisableOomKiller",
  useHierarchy: "memoryUseHierarchy",
} as const satisfies Record<keyof v1.LinuxMemorySent, FieldName>;

const cpuFields = {
  shares: "cpuShares",
  quota: "cpuQuota",
  period: "cpuPeriod",
  realtimeRuntime: "cpuRealtimeRuntime",
  realtimePeriod: "cpuRealtimePeriod",
  cpus: "cpusetCpus",
  mems: "cpusetMems",
} as const satisfies Record<keyof v1.LinuxCPUSent, FieldName>;

/**
 * `now` with what `change` sets. Nothing is claimed twice and `now` stays as it is.
 * @throws CricketError failed-precondition where two plugins set one field
 */
export function mergeResources(
  now: v1.LinuxResourcesSent,
  change: v1.LinuxResources,
  claim: Claim,
): v1.LinuxResourcesSent {
  const merged: v1.LinuxResourcesSent = {
    ...now,
    memory: mergeScalars(now.memory ?? {}, change.memory ?? {}, memoryFields, claim),
    cpu: mergeScalars(now.cpu ?? {}, change.cpu ?? {}, cpuFields, claim),
    devices: [...(now.devices ?? []), ...change.devices],
    unified: { ...now.unified },
    hugepageLimits: mergeHugepages(now.hugepageLimits ?? [], change.hugepageLimits, claim),
  };
  for (const [key, value] of Object.entries(change.unified)) {
    claim("unified", key);
    merged.unified![key] = value;
  }
  for (const [member, name] of [
    ["blockioClass", "blockioClass"],
    ["rdtClass", "rdtClass"],
    ["pids", "pidsLimit"],
  ] as const) {
    if (change[member] === undefined || change[member] === null) continue;
    claim(name);
    Object.assign(merged, { [member]: change[member] });
  }
  return merged;
}

function mergeScalars<T extends object>(
  now: T,
  change: T,
  names: Readonly<Record<string, FieldName>>,
  claim: Claim,
): T {
  const merged = { ...now };
  for (const [member, name] of Object.entries(names)) {
    const value = change[member as keyof T];
    // The two sets of CPUs and nodes are plain strings.
    if (value === undefined || value === null || value === "") continue;
    claim(name);
    merged[member as keyof T] = value;
  }
  return merged;
}

function mergeHugepages(
  now: readonly v1.HugepageLimitSent[],
  change: readonly v1.HugepageLimit[],
  claim: Claim,
): v1.HugepageLimitSent[] {
  for (const { pageSize } of change) claim("hugepageLimit", pageSize);
  const changed = new Set(change.map(({ pageSize }) => pageSize));
  return [...now.filter(({ pageSize }) => !changed.has(pageSize ?? "")), ...change];
}

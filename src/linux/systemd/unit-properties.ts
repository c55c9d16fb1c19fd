// Limits as properties of a unit (systemd.resource-control(5)). systemd writes its own idea of a unit's limits again
// whenever it is reloaded, so whatever is written to the cgroup it has to be told as well.
import type { CgroupWrite } from "../cgroup/cgroup-write.ts";
import { words } from "../cgroup/layout.ts";
import type { DBusVariant } from "./dbus-signature.ts";
import type { UnitProperty } from "./systemd-client.ts";

const infinity = 0xffff_ffff_ffff_ffffn;

export const uint64 = (value: bigint): DBusVariant => ({ signature: "t", value });
export const int32 = (value: number): DBusVariant => ({ signature: "i", value });
export const text = (value: string): DBusVariant => ({ signature: "s", value });
export const boolean = (value: boolean): DBusVariant => ({ signature: "b", value });

export interface PropertyContext {
  /** The unit is being made: some properties cannot be changed later. */
  isNew: boolean;
  /** systemd's, as 252. */
  version: number;
  /** What a file of the cgroup says now; undefined where there is none. */
  read: (file: string) => string | undefined;
}

/** The properties for what is written; files that systemd leaves alone have none. Names of files with their version. */
export function propertiesOf(writes: readonly CgroupWrite[], context: PropertyContext): UnitProperty[] {
  const planned = new Map(writes.map(({ file, value }) => [file, value]));
  const read = (file: string): string | undefined => planned.get(file) ?? context.read(file);
  const properties = new Map<string, DBusVariant>();
  for (const { file, value } of writes) {
    const directory = file.slice(0, file.lastIndexOf("/") + 1);
    const name = file.slice(directory.length);
    const found = Object.hasOwn(translations, name) ? translations[name] : undefined;
    for (const [property, variant] of found?.(value, {
      ...context,
      read: (other) => read(directory + other),
    }) ?? [])
      properties.set(property, variant);
  }
  return [...properties];
}

type Translation = (value: string, context: PropertyContext) => UnitProperty[];

const bytes =
  (property: string): Translation =>
  (value) => [[property, uint64(limitOf(value))]];

/** "max", -1 and a number of bytes or tasks. */
function limitOf(value: string): bigint {
  return /^\d+$/.test(value.trim()) ? BigInt(value.trim()) : infinity;
}

const weight =
  (property: string): Translation =>
  (value) => {
    const number = words(value).at(-1) ?? "";
    // Weights of single devices ("8:0 100") stay: systemd does not touch what it was not told of.
    const isForAll = /^(?:default )?\d+$/.test(value.trim());
    return isForAll ? [[property, uint64(BigInt(number))]] : [];
  };

// CPUWeight=idle is a weight of 0; systemd 252.
const idle: Translation = (value, { version }) =>
  value.trim() === "1" && version >= 252 ? [["CPUWeight", uint64(0n)]] : [];

// A reload sets memory.oom.group to what the policy of a scope says; a scope has one since systemd 253, and keeps it.
const oomGroup: Translation = (value, { version, isNew }) =>
  value.trim() === "1" && isNew && version >= 253 ? [["OOMPolicy", text("kill")]] : [];

const cpuMax: Translation = (value, context) => {
  const [quota = "max", period = "100000"] = words(value);
  return quotaProperties(quota, period, context);
};

const cfsQuota: Translation = (value, context) =>
  quotaProperties(value, context.read("cpu.cfs_period_us") ?? "100000", context);

const cfsPeriod: Translation = (value, context) =>
  quotaProperties(context.read("cpu.cfs_quota_us") ?? "-1", value, context);

/**
 * Time per second. A drop-in, from which systemd reads it again, has whole percents: rounded up to 10 ms a second, or
 * a reload would take a part of the last percent away.
 */
function quotaProperties(
  quotaText: string,
  periodText: string,
  { version }: PropertyContext,
): UnitProperty[] {
  const quota = limitOf(quotaText);
  const period = limitOf(periodText);
  const percent = 10_000n;
  const exact = quota === infinity ? infinity : (quota * 1_000_000n) / (period === 0n ? 100_000n : period);
  const perSecond = exact === infinity ? infinity : ((exact + percent - 1n) / percent) * percent;
  return [
    ["CPUQuotaPerSecUSec", uint64(perSecond)],
    // systemd 242; before it the period is always 100 ms.
    ...(version >= 242 && period !== infinity
      ? [["CPUQuotaPeriodUSec", uint64(period)] satisfies UnitProperty]
      : []),
  ];
}

// systemd 244.
const cpuset =
  (property: string): Translation =>
  (value, { version }) =>
    version >= 244 ? [[property, { signature: "ay", value: cpuMask(value) }]] : [];

/** "0-3,8" as bits, the lowest byte first. */
export function cpuMask(list: string): Uint8Array {
  const bits: number[] = [];
  for (const range of list.trim().split(",")) {
    const [first = 0, last = first] = range.split("-").map(Number);
    for (let bit = first; bit <= last; bit++) bits.push(bit);
  }
  const mask = new Uint8Array(Math.floor(Math.max(0, ...bits) / 8) + 1);
  for (const bit of bits) mask[bit >> 3] = (mask[bit >> 3] ?? 0) | (1 << (bit & 7));
  return mask;
}

const translations: Readonly<Record<string, Translation>> = {
  "memory.max": bytes("MemoryMax"),
  "memory.swap.max": bytes("MemorySwapMax"),
  "memory.low": bytes("MemoryLow"),
  "memory.min": bytes("MemoryMin"),
  "memory.high": bytes("MemoryHigh"),
  "memory.oom.group": oomGroup,
  "memory.limit_in_bytes": bytes("MemoryLimit"),
  "pids.max": bytes("TasksMax"),
  "cpu.weight": weight("CPUWeight"),
  "cpu.shares": weight("CPUShares"),
  "cpu.idle": idle,
  "cpu.max": cpuMax,
  "cpu.cfs_quota_us": cfsQuota,
  "cpu.cfs_period_us": cfsPeriod,
  "cpuset.cpus": cpuset("AllowedCPUs"),
  "cpuset.mems": cpuset("AllowedMemoryNodes"),
  "io.weight": weight("IOWeight"),
  "blkio.weight": weight("BlockIOWeight"),
};

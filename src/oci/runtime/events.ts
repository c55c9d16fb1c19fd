// events: what a container uses, in the form engines read. Names and shapes are those of runc's libcontainer.
import { keyedValue, parseNumber, readCgroupFile } from "../../linux/cgroup/cgroup-file.ts";
import type { CgroupCounters, DeviceCounters } from "../../linux/cgroup/cgroup-counters.ts";
import type { CgroupLimits } from "../../linux/cgroup/cgroup-resources.ts";
import type { Pressure } from "../../linux/cgroup/cgroup-stats.ts";
import { hierarchyOf, type CgroupLayout } from "../../linux/cgroup/layout.ts";
import { failedPrecondition } from "../../base/errors.ts";
import { formatCpu, formatCpuset } from "./events-cpu.ts";
import type { Runtime } from "./runtime.ts";

type Json = Record<string, unknown>;

/** One event as runc prints it; 64-bit counters are bigints: write it with stringifyExactIntegers. */
export function statsEvent({ store }: Runtime, id: string): Json {
  const state = store.get(id);
  const status = store.status(state);
  if (status === "stopped" || status === "creating")
    throw failedPrecondition(`container with id ${id} is not running`);
  const { cgroups } = store;
  const path = state.cgroupPath;
  const counters = cgroups.counters(path);
  const limits = cgroups.readResources(path);
  return {
    type: "stats",
    id,
    data: {
      cpu: { ...formatCpu(counters.cpu, cgroups.layout, path), ...psi(counters.pressure.cpu) },
      ...formatCpuset(cgroups.layout, path),
      memory: formatMemory(counters, limits, cgroups.layout, path),
      pids: { current: counters.tasks?.count ?? 0n, ...limitOf(limits.pidsLimit) },
      blkio: { ...formatDevices(counters.devices), ...psi(counters.pressure.io) },
      hugetlb: Object.fromEntries(
        counters.hugetlb.map(({ pageSize, usageBytes, maxUsageBytes }) => [
          pageSize,
          { usage: usageBytes, ...optional("max", maxUsageBytes), failcnt: 0 },
        ]),
      ),
      intel_rdt: {},
      network_interfaces: null,
    },
  };
}

/** How often the OOM killer has been in the container's cgroup. */
export function oomKills({ store }: Runtime, id: string): bigint {
  return store.cgroups.oomKills(store.get(id).cgroupPath);
}

export const oomEvent = (id: string): Json => ({ type: "oom", id });

function optional(name: string, value: bigint | undefined): Json {
  return value === undefined ? {} : { [name]: value };
}

function limitOf(limit: bigint): Json {
  return limit > 0n ? { limit } : {};
}

/** Of runc 1.2 on: only where the kernel accounts pressure. */
function psi(pressure: Pressure | undefined): Json {
  if (pressure === undefined) return {};
  const averages = ({ avg10, avg60, avg300, totalMicroseconds }: Pressure["some"]): Json => ({
    avg10,
    avg60,
    avg300,
    total: totalMicroseconds,
  });
  return { psi: { some: averages(pressure.some), full: averages(pressure.full) } };
}

/** As the kernel writes "no limit" on cgroup v1. */
const noLimit = 2n ** 63n - 4096n;

function formatMemory(
  { memory, pressure }: CgroupCounters,
  { memoryLimitBytes, memorySwapLimitBytes }: CgroupLimits,
  layout: CgroupLayout,
  path: string,
): Json {
  if (memory === undefined) return {};
  const limit = (bytes: bigint): bigint => (bytes > 0n && bytes < noLimit ? bytes : noLimit);
  const directory = `${hierarchyOf(layout, "memory")?.root ?? ""}${path}`;
  return {
    cache: memory.cacheBytes,
    usage: {
      limit: limit(memoryLimitBytes),
      usage: memory.usageBytes,
      ...optional("max", memory.maxUsageBytes),
      failcnt: memory.limitHits,
    },
    swap: {
      limit: limit(memorySwapLimitBytes),
      usage: swapUsage(directory) ?? memory.usageBytes + memory.swapBytes,
      failcnt: 0,
    },
    kernel: { limit: noLimit, usage: memory.kernelBytes ?? 0n, failcnt: 0 },
    kernelTCP: { limit: noLimit, failcnt: 0 },
    raw: parseMemoryStat(readCgroupFile(`${directory}/memory.stat`) ?? ""),
    ...psi(pressure.memory),
  };
}

/** Memory and swap together, which only v1 counts. */
function swapUsage(directory: string): bigint | undefined {
  return parseNumber(readCgroupFile(`${directory}/memory.memsw.usage_in_bytes`));
}

/** "rss 4096" lines. */
function parseMemoryStat(text: string): Record<string, bigint> {
  const names = [...text.matchAll(/^(\w+) \d+$/gm)].map(([, name = ""]) => name);
  return Object.fromEntries(names.map((name) => [name, keyedValue(text, name) ?? 0n]));
}

function formatDevices(devices: readonly DeviceCounters[]): Json {
  if (devices.length === 0) return {};
  const entries = (read: (device: DeviceCounters) => bigint, write: (device: DeviceCounters) => bigint) =>
    devices.flatMap((device) => {
      const { major, minor } = device;
      const operations: [op: string, value: bigint][] = [
        ["Read", read(device)],
        ["Write", write(device)],
        ["Total", read(device) + write(device)],
      ];
      return operations.map(([op, value]) => ({ major, minor, op, value }));
    });
  return {
    ioServiceBytesRecursive: entries(
      ({ readBytes }) => readBytes,
      ({ writeBytes }) => writeBytes,
    ),
    ioServicedRecursive: entries(
      ({ reads }) => reads,
      ({ writes }) => writes,
    ),
  };
}

// What a cgroup has used, read in one pass over few files.
import { keyedValue, parseNumber, readCgroupFile } from "./cgroup-file.ts";
import { unlimitedBytes } from "./cgroup-resources.ts";
import { hierarchyOf, trackingHierarchy, type CgroupLayout } from "./layout.ts";

export interface PressureAverages {
  totalMicroseconds: bigint;
  /** Percent of time, 0 to 100. */
  avg10: number;
  avg60: number;
  avg300: number;
}

/** Pressure stall information, see Documentation/accounting/psi.rst. */
export interface Pressure {
  some: PressureAverages;
  full: PressureAverages;
}

export interface CgroupMemoryStats {
  /** With page cache. */
  usageBytes: bigint;
  /** Usage without the file pages that can go at once: what the kubelet evicts by. */
  workingSetBytes: bigint;
  rssBytes: bigint;
  pageFaults: bigint;
  majorPageFaults: bigint;
  /** Absent without a limit. */
  limitBytes?: bigint;
  /** Absent without swap accounting. */
  swapUsageBytes?: bigint;
  /** Swap alone; absent without a limit. */
  swapLimitBytes?: bigint;
}

/** Absent members: the machine does not have the controller, or the kernel not the feature. */
export interface CgroupStats {
  cpu?: { usageNs: bigint };
  memory?: CgroupMemoryStats;
  /** Tasks: threads count. */
  taskCount?: bigint;
  pressure: { cpu?: Pressure; memory?: Pressure; io?: Pressure };
}

/** Undefined when the cgroup does not exist. */
export function readCgroupStats(layout: CgroupLayout, path: string): CgroupStats | undefined {
  const stats: CgroupStats = { pressure: readPressures(layout, path) };
  const cpu = readCpuUsage(layout, path);
  if (cpu !== undefined) stats.cpu = { usageNs: cpu };
  const memory = readMemoryStats(layout, path);
  if (memory !== undefined) stats.memory = memory;
  const tasks = fileOf(layout, path, "pids", "pids.current");
  const taskCount = tasks === undefined ? undefined : parseNumber(readCgroupFile(tasks));
  if (taskCount !== undefined) stats.taskCount = taskCount;
  const nothing = cpu === undefined && memory === undefined && taskCount === undefined;
  return nothing && !exists(layout, path) ? undefined : stats;
}

const exists = (layout: CgroupLayout, path: string): boolean =>
  readCgroupFile(`${trackingHierarchy(layout).root}${path}/cgroup.procs`) !== undefined;

function fileOf(layout: CgroupLayout, path: string, controller: string, file: string): string | undefined {
  const hierarchy = hierarchyOf(layout, controller);
  return hierarchy === undefined ? undefined : `${hierarchy.root}${path}/${file}`;
}

function readCpuUsage(layout: CgroupLayout, path: string): bigint | undefined {
  const v1 = fileOf(layout, path, "cpuacct", "cpuacct.usage");
  if (v1 !== undefined) return parseNumber(readCgroupFile(v1));
  // cpu.stat is there in every v2 cgroup, with or without the cpu controller.
  const text = layout.unified && readCgroupFile(`${layout.unified.root}${path}/cpu.stat`);
  const usec = text === undefined ? undefined : keyedValue(text, "usage_usec");
  return usec === undefined ? undefined : usec * 1000n;
}

function readMemoryStats(layout: CgroupLayout, path: string): CgroupMemoryStats | undefined {
  const hierarchy = hierarchyOf(layout, "memory");
  if (hierarchy === undefined) return undefined;
  const directory = `${hierarchy.root}${path}`;
  const text = readCgroupFile(`${directory}/memory.stat`);
  if (text === undefined) return undefined;
  return hierarchy.version === 1 ? memoryV1(directory, text) : memoryV2(directory, text);
}

function workingSet(usage: bigint, inactiveFile: bigint): bigint {
  return usage > inactiveFile ? usage - inactiveFile : 0n;
}

// The total_ lines count the whole subtree, as v2 always does.
function memoryV1(directory: string, text: string): CgroupMemoryStats | undefined {
  const usageBytes = parseNumber(readCgroupFile(`${directory}/memory.usage_in_bytes`));
  if (usageBytes === undefined) return undefined;
  const value = (key: string): bigint => keyedValue(text, `total_${key}`) ?? keyedValue(text, key) ?? 0n;
  const stats: CgroupMemoryStats = {
    usageBytes,
    workingSetBytes: workingSet(usageBytes, value("inactive_file")),
    rssBytes: value("rss"),
    pageFaults: value("pgfault"),
    majorPageFaults: value("pgmajfault"),
  };
  const limit = keyedValue(text, "hierarchical_memory_limit");
  if (limit !== undefined && limit < unlimitedBytes) stats.limitBytes = limit;
  // Both lines are there only with swap accounting.
  const together = keyedValue(text, "hierarchical_memsw_limit");
  if (together !== undefined) {
    stats.swapUsageBytes = value("swap");
    if (together < unlimitedBytes && stats.limitBytes !== undefined)
      stats.swapLimitBytes = together - stats.limitBytes;
  }
  return stats;
}

function memoryV2(directory: string, text: string): CgroupMemoryStats | undefined {
  const usageBytes = parseNumber(readCgroupFile(`${directory}/memory.current`));
  if (usageBytes === undefined) return undefined;
  const value = (key: string): bigint => keyedValue(text, key) ?? 0n;
  const stats: CgroupMemoryStats = {
    usageBytes,
    workingSetBytes: workingSet(usageBytes, value("inactive_file")),
    rssBytes: value("anon"),
    pageFaults: value("pgfault"),
    majorPageFaults: value("pgmajfault"),
  };
  const limit = parseNumber(readCgroupFile(`${directory}/memory.max`));
  if (limit !== undefined) stats.limitBytes = limit;
  const swap = parseNumber(readCgroupFile(`${directory}/memory.swap.current`));
  if (swap !== undefined) stats.swapUsageBytes = swap;
  const swapLimit =
    swap === undefined ? undefined : parseNumber(readCgroupFile(`${directory}/memory.swap.max`));
  if (swapLimit !== undefined) stats.swapLimitBytes = swapLimit;
  return stats;
}

// In the unified hierarchy, also of a hybrid machine: its cgroups account pressure without any controller.
export function readPressures({ unified }: CgroupLayout, path: string): CgroupStats["pressure"] {
  if (unified === undefined) return {};
  const pressures: CgroupStats["pressure"] = {};
  for (const resource of ["cpu", "memory", "io"] as const) {
    const text = readCgroupFile(`${unified.root}${path}/${resource}.pressure`);
    const pressure = text === undefined ? undefined : parsePressure(text);
    if (pressure !== undefined) pressures[resource] = pressure;
    // Without one there is none of the others either: PSI is off.
    else break;
  }
  return pressures;
}

const pressureLine = /^(some|full) avg10=([\d.]+) avg60=([\d.]+) avg300=([\d.]+) total=(\d+)$/gm;

/** "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"; older kernels have no "full" line for cpu, which then is zero. */
export function parsePressure(text: string): Pressure | undefined {
  const none: PressureAverages = { totalMicroseconds: 0n, avg10: 0, avg60: 0, avg300: 0 };
  const pressure: Pressure = { some: none, full: none };
  let lines = 0;
  for (const [, kind, avg10, avg60, avg300, total = "0"] of text.matchAll(pressureLine)) {
    pressure[kind === "full" ? "full" : "some"] = {
      totalMicroseconds: BigInt(total),
      avg10: Number(avg10),
      avg60: Number(avg60),
      avg300: Number(avg300),
    };
    lines++;
  }
  return lines === 0 ? undefined : pressure;
}

/** How often the OOM killer took a process of this cgroup; 0 without a memory controller or on kernels before 4.13. */
export function readOomKills(layout: CgroupLayout, path: string): bigint {
  const file = oomEventsPath(layout, path);
  const text = file === undefined ? undefined : readCgroupFile(file);
  return (text === undefined ? undefined : keyedValue(text, "oom_kill")) ?? 0n;
}

/** The file with the "oom_kill N" line: memory.events in v2, memory.oom_control in v1. */
export function oomEventsPath(layout: CgroupLayout, path: string): string | undefined {
  const hierarchy = hierarchyOf(layout, "memory");
  if (hierarchy === undefined) return undefined;
  return `${hierarchy.root}${path}/${hierarchy.version === 1 ? "memory.oom_control" : "memory.events"}`;
}

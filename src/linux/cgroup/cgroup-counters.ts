// Everything a cgroup counts, for metrics: more files than statistics need, each of them read once.
import { readdirSync } from "node:fs";
import { keyedValue, parseNumber, readCgroupFile, readNumber } from "./cgroup-file.ts";
import { readOomKills, readPressures, type CgroupStats } from "./cgroup-stats.ts";
import { hierarchyOf, type CgroupLayout } from "./layout.ts";

/** Absent members: the kernel does not count it here. */
export interface CpuCounters {
  usageNs: bigint;
  userNs?: bigint;
  systemNs?: bigint;
  /** Only with a CPU controller. */
  quota?: { periods: bigint; throttledPeriods: bigint; throttledNs: bigint };
}

export interface MemoryCounters {
  usageBytes: bigint;
  workingSetBytes: bigint;
  maxUsageBytes?: bigint;
  cacheBytes: bigint;
  rssBytes: bigint;
  kernelBytes?: bigint;
  mappedFileBytes: bigint;
  swapBytes: bigint;
  /** How often the limit was reached. */
  limitHits: bigint;
  activeFileBytes: bigint;
  inactiveFileBytes: bigint;
  activeAnonBytes: bigint;
  inactiveAnonBytes: bigint;
  /** Transparent huge pages; v1 tells only those of anonymous memory. */
  anonHugeBytes: bigint;
  shmemHugeBytes: bigint;
  fileHugeBytes: bigint;
  pageFaults: bigint;
  majorPageFaults: bigint;
}

export interface HugetlbCounters {
  /** As in the names of the files: "2MB". */
  pageSize: string;
  usageBytes: bigint;
  maxUsageBytes?: bigint;
}

export interface DeviceCounters {
  major: number;
  minor: number;
  readBytes: bigint;
  writeBytes: bigint;
  reads: bigint;
  writes: bigint;
}

export interface CgroupCounters {
  cpu?: CpuCounters;
  memory?: MemoryCounters;
  hugetlb: readonly HugetlbCounters[];
  devices: readonly DeviceCounters[];
  /** Threads count; `limit` is absent without one. */
  tasks?: { count: bigint; limit?: bigint };
  oomKills?: bigint;
  pressure: CgroupStats["pressure"];
}

/** What can be left out. */
export type CounterGroup = "cpu" | "memory" | "hugetlb" | "devices" | "tasks" | "oom" | "pressure";

const allGroups: ReadonlySet<CounterGroup> = new Set([
  "cpu",
  "memory",
  "hugetlb",
  "devices",
  "tasks",
  "oom",
  "pressure",
]);

export function readCgroupCounters(
  layout: CgroupLayout,
  path: string,
  groups: ReadonlySet<CounterGroup> = allGroups,
): CgroupCounters {
  const counters: CgroupCounters = {
    hugetlb: groups.has("hugetlb") ? readHugetlb(layout, path) : [],
    devices: groups.has("devices") ? readDevices(layout, path) : [],
    pressure: groups.has("pressure") ? readPressures(layout, path) : {},
  };
  if (groups.has("oom")) counters.oomKills = readOomKills(layout, path);
  const cpu = groups.has("cpu") ? readCpu(layout, path) : undefined;
  if (cpu !== undefined) counters.cpu = cpu;
  const memory = groups.has("memory") ? readMemory(layout, path) : undefined;
  if (memory !== undefined) counters.memory = memory;
  const tasks = groups.has("tasks") ? readTasks(layout, path) : undefined;
  if (tasks !== undefined) counters.tasks = tasks;
  return counters;
}

function readTasks(layout: CgroupLayout, path: string): CgroupCounters["tasks"] {
  const pids = hierarchyOf(layout, "pids");
  if (pids === undefined) return undefined;
  const count = readNumber(`${pids.root}${path}/pids.current`);
  if (count === undefined) return undefined;
  const limit = readNumber(`${pids.root}${path}/pids.max`);
  return { count, ...(limit === undefined ? {} : { limit }) };
}

function readCpu(layout: CgroupLayout, path: string): CpuCounters | undefined {
  const accounting = hierarchyOf(layout, "cpuacct");
  return accounting === undefined ? cpuV2(layout, path) : cpuV1(layout, `${accounting.root}${path}`, path);
}

function cpuV1(layout: CgroupLayout, directory: string, path: string): CpuCounters | undefined {
  const usageNs = readNumber(`${directory}/cpuacct.usage`);
  if (usageNs === undefined) return undefined;
  const counters: CpuCounters = { usageNs };
  const userNs = readNumber(`${directory}/cpuacct.usage_user`);
  const systemNs = readNumber(`${directory}/cpuacct.usage_sys`);
  if (userNs !== undefined) counters.userNs = userNs;
  if (systemNs !== undefined) counters.systemNs = systemNs;
  const hierarchy = hierarchyOf(layout, "cpu");
  const text = hierarchy && readCgroupFile(`${hierarchy.root}${path}/cpu.stat`);
  const quota = text === undefined ? undefined : quotaOf(text, keyedValue(text, "throttled_time"));
  if (quota !== undefined) counters.quota = quota;
  return counters;
}

function cpuV2({ unified }: CgroupLayout, path: string): CpuCounters | undefined {
  const text = unified && readCgroupFile(`${unified.root}${path}/cpu.stat`);
  if (text === undefined) return undefined;
  const ns = (key: string): bigint | undefined => {
    const usec = keyedValue(text, key);
    return usec === undefined ? undefined : usec * 1000n;
  };
  const counters: CpuCounters = {
    usageNs: ns("usage_usec") ?? 0n,
    userNs: ns("user_usec") ?? 0n,
    systemNs: ns("system_usec") ?? 0n,
  };
  const quota = quotaOf(text, ns("throttled_usec"));
  if (quota !== undefined) counters.quota = quota;
  return counters;
}

function quotaOf(text: string, throttledNs: bigint | undefined): CpuCounters["quota"] {
  const periods = keyedValue(text, "nr_periods");
  const throttledPeriods = keyedValue(text, "nr_throttled");
  if (periods === undefined || throttledPeriods === undefined || throttledNs === undefined) return undefined;
  return { periods, throttledPeriods, throttledNs };
}

function readMemory(layout: CgroupLayout, path: string): MemoryCounters | undefined {
  const hierarchy = hierarchyOf(layout, "memory");
  if (hierarchy === undefined) return undefined;
  const directory = `${hierarchy.root}${path}`;
  const text = readCgroupFile(`${directory}/memory.stat`);
  if (text === undefined) return undefined;
  return hierarchy.version === 1 ? memoryV1(directory, text) : memoryV2(directory, text);
}

const atLeastZero = (value: bigint): bigint => (value < 0n ? 0n : value);

function withPeaks(
  counters: MemoryCounters,
  maxUsageBytes: bigint | undefined,
  kernelBytes: bigint | undefined,
): MemoryCounters {
  if (maxUsageBytes !== undefined) counters.maxUsageBytes = maxUsageBytes;
  if (kernelBytes !== undefined) counters.kernelBytes = kernelBytes;
  return counters;
}

// The total_ lines count the whole subtree, as v2 always does.
function memoryV1(directory: string, text: string): MemoryCounters {
  const value = (key: string): bigint => keyedValue(text, `total_${key}`) ?? keyedValue(text, key) ?? 0n;
  const usageBytes = readNumber(`${directory}/memory.usage_in_bytes`) ?? 0n;
  const counters: MemoryCounters = {
    usageBytes,
    workingSetBytes: atLeastZero(usageBytes - value("inactive_file")),
    cacheBytes: value("cache"),
    rssBytes: value("rss"),
    mappedFileBytes: value("mapped_file"),
    swapBytes: value("swap"),
    limitHits: readNumber(`${directory}/memory.failcnt`) ?? 0n,
    activeFileBytes: value("active_file"),
    inactiveFileBytes: value("inactive_file"),
    activeAnonBytes: value("active_anon"),
    inactiveAnonBytes: value("inactive_anon"),
    anonHugeBytes: value("rss_huge"),
    shmemHugeBytes: 0n,
    fileHugeBytes: 0n,
    pageFaults: value("pgfault"),
    majorPageFaults: value("pgmajfault"),
  };
  const kernelBytes = readNumber(`${directory}/memory.kmem.usage_in_bytes`);
  return withPeaks(counters, readNumber(`${directory}/memory.max_usage_in_bytes`), kernelBytes);
}

function memoryV2(directory: string, text: string): MemoryCounters {
  const value = (key: string): bigint => keyedValue(text, key) ?? 0n;
  const usageBytes = readNumber(`${directory}/memory.current`) ?? 0n;
  const events = readCgroupFile(`${directory}/memory.events`) ?? "";
  const counters: MemoryCounters = {
    usageBytes,
    workingSetBytes: atLeastZero(usageBytes - value("inactive_file")),
    cacheBytes: value("file"),
    rssBytes: value("anon"),
    mappedFileBytes: value("file_mapped"),
    swapBytes: readNumber(`${directory}/memory.swap.current`) ?? 0n,
    limitHits: keyedValue(events, "max") ?? 0n,
    activeFileBytes: value("active_file"),
    inactiveFileBytes: value("inactive_file"),
    activeAnonBytes: value("active_anon"),
    inactiveAnonBytes: value("inactive_anon"),
    anonHugeBytes: value("anon_thp"),
    shmemHugeBytes: value("shmem_thp"),
    fileHugeBytes: value("file_thp"),
    pageFaults: value("pgfault"),
    majorPageFaults: value("pgmajfault"),
  };
  // Linux 5.18 has the line, 5.19 the file.
  return withPeaks(counters, readNumber(`${directory}/memory.peak`), keyedValue(text, "kernel"));
}

let knownSizes: readonly string[] | undefined;

// The kernel's sizes are fixed when it boots, and were looked up for every cgroup.
function hugepageSizes(): readonly string[] {
  return (knownSizes ??= readHugepageSizes());
}

// hugepages-2048kB is 2MB in the names of cgroup files, hugepages-1048576kB is 1GB.
function readHugepageSizes(): string[] {
  return listHugepages().flatMap((name) => {
    const kib = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0);
    if (kib === 0) return [];
    if (kib >= 1024 * 1024) return [`${kib / (1024 * 1024)}GB`];
    return [kib >= 1024 ? `${kib / 1024}MB` : `${kib}KB`];
  });
}

function listHugepages(): string[] {
  try {
    return readdirSync("/sys/kernel/mm/hugepages");
  } catch {
    // A kernel without huge pages.
    return [];
  }
}

function readHugetlb(layout: CgroupLayout, path: string): HugetlbCounters[] {
  const hierarchy = hierarchyOf(layout, "hugetlb");
  if (hierarchy === undefined) return [];
  const [current, peak] =
    hierarchy.version === 1 ? ["usage_in_bytes", "max_usage_in_bytes"] : ["current", undefined];
  return hugepageSizes().flatMap((pageSize) => {
    const file = `${hierarchy.root}${path}/hugetlb.${pageSize}`;
    const usageBytes = readNumber(`${file}.${current}`);
    if (usageBytes === undefined) return [];
    const maxUsageBytes = peak === undefined ? undefined : readNumber(`${file}.${peak}`);
    return [{ pageSize, usageBytes, ...(maxUsageBytes === undefined ? {} : { maxUsageBytes }) }];
  });
}

function readDevices(layout: CgroupLayout, path: string): DeviceCounters[] {
  const v1 = hierarchyOf(layout, "blkio");
  if (v1 !== undefined) {
    const directory = `${v1.root}${path}`;
    const bytes = readCgroupFile(`${directory}/blkio.throttle.io_service_bytes_recursive`) ?? "";
    const operations = readCgroupFile(`${directory}/blkio.throttle.io_serviced_recursive`) ?? "";
    return parseBlkio(bytes, operations);
  }
  const v2 = hierarchyOf(layout, "io");
  return v2 === undefined ? [] : parseIoStat(readCgroupFile(`${v2.root}${path}/io.stat`) ?? "");
}

/** Lines "8:0 Read 4096"; "Total 4096" and the lines of other operations are left out. */
export function parseBlkio(bytes: string, operations: string): DeviceCounters[] {
  const devices = new Map<string, DeviceCounters>();
  const add = (text: string, read: "readBytes" | "reads", write: "writeBytes" | "writes"): void => {
    for (const [, major = "", minor = "", operation, value] of text.matchAll(blkioLine)) {
      const device = deviceOf(devices, major, minor);
      device[operation === "Read" ? read : write] = parseNumber(value) ?? 0n;
    }
  };
  add(bytes, "readBytes", "writeBytes");
  add(operations, "reads", "writes");
  return [...devices.values()];
}

const blkioLine = /^(\d+):(\d+) (Read|Write) (\d+)$/gm;

/** Lines "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0". */
export function parseIoStat(text: string): DeviceCounters[] {
  const devices = new Map<string, DeviceCounters>();
  for (const [, major = "", minor = "", values = ""] of text.matchAll(/^(\d+):(\d+) (.*)$/gm)) {
    const device = deviceOf(devices, major, minor);
    for (const [, key = "", value] of values.matchAll(/(\w+)=(\d+)/g)) {
      const member = ioStatMembers[key];
      if (member !== undefined) device[member] = parseNumber(value) ?? 0n;
    }
  }
  return [...devices.values()];
}

const ioStatMembers: Readonly<Record<string, "readBytes" | "writeBytes" | "reads" | "writes">> = {
  rbytes: "readBytes",
  wbytes: "writeBytes",
  rios: "reads",
  wios: "writes",
};

function deviceOf(devices: Map<string, DeviceCounters>, major: string, minor: string): DeviceCounters {
  const key = `${major}:${minor}`;
  const known = devices.get(key);
  if (known !== undefined) return known;
  const device: DeviceCounters = {
    major: Number(major),
    minor: Number(minor),
    readBytes: 0n,
    writeBytes: 0n,
    reads: 0n,
    writes: 0n,
  };
  devices.set(key, device);
  return device;
}

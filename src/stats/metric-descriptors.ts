// The metrics of ListMetricDescriptors: names and labels as cAdvisor has them, because dashboards and alerts are made
// of those. Values are whole numbers (the CRI has no others), so times are full seconds.

import type { MetricFamily } from "../config/config.ts";

export type MetricType = "counter" | "gauge";

export interface MetricDescriptor {
  readonly name: string;
  readonly help: string;
  readonly type: MetricType;
  readonly labelKeys: readonly string[];
}

/** What every metric is labelled with; its own labels follow. */
export const baseLabelKeys = ["id", "image", "namespace", "pod", "container"] as const;

function describe(type: MetricType, name: string, help: string, ...labels: string[]): MetricDescriptor {
  return { name: `container_${name}`, help, type, labelKeys: [...baseLabelKeys, ...labels] };
}

const counter = (name: string, help: string, ...labels: string[]): MetricDescriptor =>
  describe("counter", name, help, ...labels);
const gauge = (name: string, help: string, ...labels: string[]): MetricDescriptor =>
  describe("gauge", name, help, ...labels);

export const cpuMetrics = {
  user: counter("cpu_user_seconds_total", "CPU time spent in user mode, in seconds"),
  system: counter("cpu_system_seconds_total", "CPU time spent in the kernel, in seconds"),
  usage: counter("cpu_usage_seconds_total", "CPU time used, in seconds", "cpu"),
  periods: counter("cpu_cfs_periods_total", "Enforcement periods of the CPU quota that have passed"),
  throttledPeriods: counter("cpu_cfs_throttled_periods_total", "Enforcement periods with throttling"),
  throttled: counter("cpu_cfs_throttled_seconds_total", "Time spent throttled, in seconds"),
};

export const memoryMetrics = {
  cache: gauge("memory_cache", "Page cache, in bytes"),
  rss: gauge("memory_rss", "Anonymous memory in RAM, in bytes"),
  kernel: gauge("memory_kernel_usage", "Memory of the kernel on behalf of the container, in bytes"),
  mappedFile: gauge("memory_mapped_file", "Files mapped into memory, in bytes"),
  swap: gauge("memory_swap", "Swap in use, in bytes"),
  limitHits: counter("memory_failcnt", "How often the memory limit was reached"),
  usage: gauge("memory_usage_bytes", "Memory in use with all caches, in bytes"),
  maxUsage: gauge("memory_max_usage_bytes", "Highest memory usage so far, in bytes"),
  workingSet: gauge("memory_working_set_bytes", "Memory in use that cannot be dropped at once, in bytes"),
  activeFile: gauge("memory_total_active_file_bytes", "File pages in recent use, in bytes"),
  inactiveFile: gauge("memory_total_inactive_file_bytes", "File pages not in recent use, in bytes"),
  activeAnon: gauge("memory_active_anon_bytes", "Anonymous memory in recent use, in bytes"),
  inactiveAnon: gauge("memory_inactive_anon_bytes", "Anonymous memory not in recent use, in bytes"),
  anonHuge: gauge("memory_anon_thp_bytes", "Anonymous memory in transparent huge pages, in bytes"),
  shmemHuge: gauge("memory_shmem_thp_bytes", "Shared memory in transparent huge pages, in bytes"),
  fileHuge: gauge("memory_file_thp_bytes", "File pages in transparent huge pages, in bytes"),
  faults: counter("memory_failures_total", "Page faults", "failure_type", "scope"),
};

export const hugetlbMetrics = {
  usage: gauge("hugetlb_usage_bytes", "Huge pages in use, in bytes", "pagesize"),
  maxUsage: gauge("hugetlb_max_usage_bytes", "Highest usage of huge pages so far, in bytes", "pagesize"),
};

export const networkMetrics = {
  rxBytes: counter("network_receive_bytes_total", "Bytes received", "interface"),
  rxPackets: counter("network_receive_packets_total", "Packets received", "interface"),
  rxDropped: counter("network_receive_packets_dropped_total", "Received packets dropped", "interface"),
  rxErrors: counter("network_receive_errors_total", "Errors while receiving", "interface"),
  txBytes: counter("network_transmit_bytes_total", "Bytes sent", "interface"),
  txPackets: counter("network_transmit_packets_total", "Packets sent", "interface"),
  txDropped: counter("network_transmit_packets_dropped_total", "Packets dropped while sending", "interface"),
  txErrors: counter("network_transmit_errors_total", "Errors while sending", "interface"),
};

export const oomMetrics = {
  kills: counter("oom_events_total", "Processes killed because memory ran out"),
};

export const processMetrics = {
  fileDescriptors: gauge("file_descriptors", "Open file descriptors of all processes"),
  processes: gauge("processes", "Processes"),
  sockets: gauge("sockets", "Open sockets of all processes"),
  threads: gauge("threads", "Threads of all processes"),
  threadsMax: gauge("threads_max", "Highest number of threads allowed; 0: no limit"),
  ulimitsSoft: gauge("ulimits_soft", "Soft resource limits of the first process", "ulimit"),
};

export const specMetrics = {
  cpuPeriod: gauge("spec_cpu_period", "Period of the CPU quota, in microseconds"),
  cpuShares: gauge("spec_cpu_shares", "CPU shares"),
  cpuQuota: gauge("spec_cpu_quota", "CPU time allowed in a period, in microseconds"),
  memoryLimit: gauge("spec_memory_limit_bytes", "Memory limit, in bytes; 0: none"),
  memoryReservation: gauge(
    "spec_memory_reservation_limit_bytes",
    "Memory that is kept free for it, in bytes",
  ),
  memorySwapLimit: gauge(
    "spec_memory_swap_limit_bytes",
    "Limit of memory and swap together, in bytes; 0: none",
  ),
  startTime: gauge("start_time_seconds", "When the container was started, in seconds since 1970"),
};

export const diskMetrics = {
  inodesFree: gauge("fs_inodes_free", "Free inodes of the filesystem with the writable layer"),
  inodesTotal: gauge("fs_inodes_total", "Inodes of the filesystem with the writable layer"),
  limit: gauge("fs_limit_bytes", "Size of the filesystem with the writable layer, in bytes"),
  usage: gauge("fs_usage_bytes", "Size of the writable layer, in bytes"),
};

export const diskIoMetrics = {
  readBytes: counter("fs_reads_bytes_total", "Bytes read", "device"),
  reads: counter("fs_reads_total", "Reads completed", "device"),
  writeBytes: counter("fs_writes_bytes_total", "Bytes written", "device"),
  writes: counter("fs_writes_total", "Writes completed", "device"),
  deviceUsage: counter(
    "blkio_device_usage_total",
    "Bytes moved from and to a device",
    "device",
    "major",
    "minor",
    "operation",
  ),
};

export const pressureMetrics = {
  cpuStalled: counter(
    "pressure_cpu_stalled_seconds_total",
    "Time in which all tasks waited for a CPU, in seconds",
  ),
  cpuWaiting: counter(
    "pressure_cpu_waiting_seconds_total",
    "Time in which some task waited for a CPU, in seconds",
  ),
  memoryStalled: counter(
    "pressure_memory_stalled_seconds_total",
    "Time in which all tasks waited for memory, in seconds",
  ),
  memoryWaiting: counter(
    "pressure_memory_waiting_seconds_total",
    "Time in which some task waited for memory, in seconds",
  ),
  ioStalled: counter(
    "pressure_io_stalled_seconds_total",
    "Time in which all tasks waited for I/O, in seconds",
  ),
  ioWaiting: counter(
    "pressure_io_waiting_seconds_total",
    "Time in which some task waited for I/O, in seconds",
  ),
};

export const lastSeenMetric = gauge(
  "last_seen",
  "When the container was last looked at, in seconds since 1970",
);

const families: Readonly<Record<MetricFamily, Readonly<Record<string, MetricDescriptor>>>> = {
  cpu: cpuMetrics,
  hugetlb: hugetlbMetrics,
  memory: memoryMetrics,
  network: networkMetrics,
  oom: oomMetrics,
  process: processMetrics,
  spec: specMetrics,
  disk: diskMetrics,
  diskIO: diskIoMetrics,
  pressure: pressureMetrics,
};

/** The descriptors of some families, and of what is always there. */
export function metricDescriptors(included: ReadonlySet<MetricFamily>): MetricDescriptor[] {
  const chosen = Object.entries(families).filter(([family]) => included.has(family as MetricFamily));
  return [lastSeenMetric, ...chosen.flatMap(([, metrics]) => Object.values(metrics))];
}

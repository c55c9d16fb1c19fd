import assert from "node:assert/strict";
import { test } from "node:test";
import { baseLabelKeys, metricDescriptors as descriptorsOf } from "../../../src/stats/metric-descriptors.ts";
import {
  measureCgroup,
  measureDisk,
  measureInterface,
  samplesOf,
} from "../../../src/stats/metric-samples.ts";

const metricDescriptors = descriptorsOf(
  new Set(["cpu", "disk", "diskIO", "hugetlb", "memory", "network", "oom", "pressure", "process", "spec"]),
);
const labels = ["id", "image", "namespace", "pod", "container"];
const keysOf = (name: string): readonly string[] | undefined =>
  metricDescriptors.find((descriptor) => descriptor.name === name)?.labelKeys;

test("`metricDescriptors` has every name once, and the base labels first", () => {
  const names = metricDescriptors.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  for (const { name, labelKeys } of metricDescriptors)
    assert.deepEqual(labelKeys.slice(0, baseLabelKeys.length), [...baseLabelKeys], name);
});

test("`metricDescriptors` has a member of each family under cAdvisor's name", () => {
  const names = new Set(metricDescriptors.map(({ name }) => name));
  for (const name of [
    "container_cpu_usage_seconds_total",
    "container_hugetlb_usage_bytes",
    "container_memory_working_set_bytes",
    "container_network_receive_bytes_total",
    "container_oom_events_total",
    "container_processes",
    "container_spec_memory_limit_bytes",
    "container_fs_usage_bytes",
    "container_fs_reads_bytes_total",
    "container_pressure_cpu_waiting_seconds_total",
  ])
    assert.ok(names.has(name), name);
});

test("`metricDescriptors()` has the families that were asked for, and what is always there", () => {
  const names = descriptorsOf(new Set(["oom"])).map(({ name }) => name);
  assert.deepEqual(names, ["container_last_seen", "container_oom_events_total"]);
});

test("`samplesOf()` leaves out what is unknown, and gives the others as many labels as they have keys", () => {
  const second = 1_000_000_000n;
  const averages = { totalMicroseconds: 2_500_000n, avg10: 0, avg60: 0, avg300: 0 };
  const measurements = [
    ...measureCgroup({
      cpu: { usageNs: 3n * second + 5n, userNs: 2n * second },
      hugetlb: [{ pageSize: "2MB", usageBytes: 7n }],
      devices: [{ major: 8, minor: 1, readBytes: 1n, writeBytes: 2n, reads: 3n, writes: 4n }],
      tasks: { count: 4n },
      oomKills: 0n,
      pressure: { memory: { some: averages, full: { ...averages, totalMicroseconds: 999_999n } } },
    }),
    ...measureInterface("eth0", {
      rxBytes: 1n,
      rxPackets: 2n,
      rxErrors: 3n,
      rxDropped: 4n,
      txBytes: 5n,
      txPackets: 6n,
      txErrors: 7n,
      txDropped: 8n,
    }),
    ...measureDisk({ sizeBytes: 100n, inodes: 10n, freeInodes: 9n }, undefined),
  ];
  const samples = samplesOf(measurements, labels);
  for (const { name, labelValues } of samples) assert.equal(labelValues.length, keysOf(name)?.length, name);
  const valueOf = (name: string, label?: string): bigint | undefined =>
    samples.find((one) => one.name === name && (label === undefined || one.labelValues.includes(label)))
      ?.value;
  assert.equal(valueOf("container_cpu_usage_seconds_total", "total"), 3n);
  assert.equal(valueOf("container_cpu_user_seconds_total"), 2n);
  assert.equal(valueOf("container_cpu_system_seconds_total"), undefined);
  assert.equal(valueOf("container_hugetlb_usage_bytes", "2MB"), 7n);
  assert.equal(valueOf("container_hugetlb_max_usage_bytes"), undefined);
  assert.equal(valueOf("container_threads_max"), 0n);
  assert.equal(valueOf("container_blkio_device_usage_total", "write"), 2n);
  assert.equal(valueOf("container_pressure_memory_waiting_seconds_total"), 2n);
  assert.equal(valueOf("container_pressure_memory_stalled_seconds_total"), 0n);
  assert.equal(valueOf("container_pressure_cpu_waiting_seconds_total"), undefined);
  assert.equal(valueOf("container_network_transmit_packets_dropped_total", "eth0"), 8n);
  assert.equal(valueOf("container_fs_usage_bytes"), undefined);
});

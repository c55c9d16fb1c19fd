import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseBlkio, parseIoStat, readCgroupCounters } from "../../../../src/linux/cgroup/cgroup-counters.ts";
import type { CgroupLayout, Hierarchy } from "../../../../src/linux/cgroup/layout.ts";

const device = { major: 8, minor: 0, readBytes: 4096n, writeBytes: 512n, reads: 2n, writes: 1n };

test("`parseBlkio()` takes reads and writes per device, no totals and no other operations", () => {
  const bytes = "8:0 Read 4096\n8:0 Write 512\n8:0 Sync 7\n8:0 Total 4608\nTotal 4608\n";
  const operations = "8:0 Read 2\n8:0 Write 1\n7:1 Read 3\nTotal 6\n";
  const other = { major: 7, minor: 1, readBytes: 0n, writeBytes: 0n, reads: 3n, writes: 0n };
  assert.deepEqual(parseBlkio(bytes, operations), [device, other]);
  assert.deepEqual(parseBlkio("", ""), []);
});

test("`parseIoStat()` takes what it knows of each device", () => {
  const text = "8:0 rbytes=4096 wbytes=512 rios=2 wios=1 dbytes=9 dios=9 cost.usage=1\n254:1 \n";
  const idle = { major: 254, minor: 1, readBytes: 0n, writeBytes: 0n, reads: 0n, writes: 0n };
  assert.deepEqual(parseIoStat(text), [device, idle]);
  assert.deepEqual(parseIoStat(""), []);
});

function layoutOf(version: 1 | 2, files: Record<string, string>): { layout: CgroupLayout } & Disposable {
  const root = mkdtempSync(join(tmpdir(), "cricket-counters-"));
  mkdirSync(join(root, "pod"));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, "pod", name), text);
  const controllers = ["blkio", "cpu", "cpuacct", "io", "memory", "pids"];
  const hierarchy: Hierarchy = {
    version,
    root,
    controllers: controllers.filter((name) => version === 1 || (name !== "cpuacct" && name !== "blkio")),
  };
  const layout: CgroupLayout =
    version === 1
      ? { kind: "v1", v1: [hierarchy], unified: undefined }
      : { kind: "v2", v1: [], unified: hierarchy };
  return { layout, [Symbol.dispose]: () => rmSync(root, { recursive: true }) };
}

test("`readCgroupCounters()` reads v2", () => {
  using fake = layoutOf(2, {
    "cpu.stat": "usage_usec 3\nuser_usec 2\nsystem_usec 1\nnr_periods 5\nnr_throttled 4\nthrottled_usec 6\n",
    "memory.stat": "anon 10\nfile 20\nkernel 5\nfile_mapped 3\ninactive_file 8\npgfault 7\nanon_thp 2\n",
    "memory.current": "100\n",
    "memory.peak": "150\n",
    "memory.events": "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n",
    "pids.current": "4\n",
    "pids.max": "max\n",
    "io.stat": "8:0 rbytes=4096 wbytes=512 rios=2 wios=1\n",
    "cpu.pressure":
      "some avg10=0.00 avg60=0.00 avg300=0.00 total=11\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
  });
  const counters = readCgroupCounters(fake.layout, "/pod");
  assert.deepEqual(counters.cpu, {
    usageNs: 3000n,
    userNs: 2000n,
    systemNs: 1000n,
    quota: { periods: 5n, throttledPeriods: 4n, throttledNs: 6000n },
  });
  const { memory } = counters;
  assert.deepEqual(
    [memory?.usageBytes, memory?.workingSetBytes, memory?.maxUsageBytes, memory?.kernelBytes],
    [100n, 92n, 150n, 5n],
  );
  assert.deepEqual([memory?.limitHits, memory?.anonHugeBytes, memory?.cacheBytes], [9n, 2n, 20n]);
  assert.deepEqual([counters.tasks?.count, counters.tasks?.limit, counters.oomKills], [4n, undefined, 1n]);
  assert.deepEqual(counters.devices, [device]);
  assert.equal(counters.pressure.cpu?.some.totalMicroseconds, 11n);
});

test("`readCgroupCounters()` reads v1, with the sums over the subtree", () => {
  using fake = layoutOf(1, {
    "cpuacct.usage": "3000\n",
    "cpuacct.usage_user": "2000\n",
    "cpuacct.usage_sys": "1000\n",
    "cpu.stat": "nr_periods 5\nnr_throttled 4\nthrottled_time 6\n",
    "memory.stat": "cache 1\nrss 1\ntotal_cache 20\ntotal_rss 10\ntotal_inactive_file 8\ntotal_swap 6\n",
    "memory.usage_in_bytes": "100\n",
    "memory.max_usage_in_bytes": "150\n",
    "memory.failcnt": "9\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    "pids.current": "4\n",
    "pids.max": "50\n",
    "blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 512\n",
    "blkio.throttle.io_serviced_recursive": "8:0 Read 2\n8:0 Write 1\n",
  });
  const { cpu, memory, devices, tasks, oomKills } = readCgroupCounters(fake.layout, "/pod");
  assert.deepEqual(cpu?.quota, { periods: 5n, throttledPeriods: 4n, throttledNs: 6n });
  assert.deepEqual([cpu?.usageNs, cpu?.userNs, cpu?.systemNs], [3000n, 2000n, 1000n]);
  assert.deepEqual([memory?.cacheBytes, memory?.rssBytes, memory?.swapBytes], [20n, 10n, 6n]);
  assert.deepEqual([memory?.workingSetBytes, memory?.limitHits, memory?.kernelBytes], [92n, 9n, undefined]);
  assert.deepEqual([devices, tasks?.limit, oomKills], [[device], 50n, 1n]);
});

test("`readCgroupCounters()` of a cgroup that is gone has nothing and does not fail", () => {
  using fake = layoutOf(2, {});
  const counters = readCgroupCounters(fake.layout, "/gone");
  assert.deepEqual(counters, { hugetlb: [], devices: [], oomKills: 0n, pressure: {} });
});

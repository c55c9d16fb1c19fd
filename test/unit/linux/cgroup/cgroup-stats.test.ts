// Read from directories that look like cgroups: a kernel's files with known numbers in them.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import fc from "fast-check";
import { keyedValue, parseNumber, readCgroupFile } from "../../../../src/linux/cgroup/cgroup-file.ts";
import { parsePressure, readCgroupStats, readOomKills } from "../../../../src/linux/cgroup/cgroup-stats.ts";
import type { CgroupLayout } from "../../../../src/linux/cgroup/layout.ts";

function directoryWith(t: TestContext, files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), "cricket-cgroup-stats-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), content);
  }
  return root;
}

const pressure =
  "some avg10=1.50 avg60=0.25 avg300=0.00 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=45\n";

test("`readCgroupStats()` reads cgroup v2", (t) => {
  const root = directoryWith(t, {
    "c/cgroup.procs": "",
    "c/cpu.stat": "usage_usec 18446744073709551\nuser_usec 1\n",
    "c/memory.stat": "anon 100\nfile 50\ninactive_file 30\npgfault 7\npgmajfault 2\n",
    "c/memory.current": "200\n",
    "c/memory.max": "1000\n",
    "c/memory.swap.current": "5\n",
    "c/memory.swap.max": "max\n",
    "c/pids.current": "3\n",
    "c/cpu.pressure": pressure,
    "c/memory.pressure": pressure,
    "c/io.pressure": pressure,
    "c/memory.events": "low 0\noom 1\noom_kill 4\n",
  });
  const layout: CgroupLayout = {
    kind: "v2",
    v1: [],
    unified: { version: 2, root, controllers: ["cpu", "memory", "pids"] },
  };
  const stats = readCgroupStats(layout, "/c");
  assert.deepEqual(stats?.cpu, { usageNs: 18446744073709551000n });
  assert.deepEqual(stats?.memory, {
    usageBytes: 200n,
    workingSetBytes: 170n,
    rssBytes: 100n,
    pageFaults: 7n,
    majorPageFaults: 2n,
    limitBytes: 1000n,
    swapUsageBytes: 5n,
  });
  assert.equal(stats?.taskCount, 3n);
  assert.equal(stats?.pressure.io?.full.totalMicroseconds, 45n);
  assert.equal(readOomKills(layout, "/c"), 4n);
  assert.equal(readCgroupStats(layout, "/gone"), undefined);
});

test("`readCgroupStats()` reads cgroup v1 with the whole subtree, and pressure from the unified hierarchy", (t) => {
  const root = directoryWith(t, {
    "memory/c/memory.stat":
      "cache 9\nrss 1\nhierarchical_memory_limit 1000\nhierarchical_memsw_limit 1500\ntotal_rss 100\ntotal_swap 8\ntotal_inactive_file 300\ntotal_pgfault 7\ntotal_pgmajfault 2\n",
    "memory/c/memory.usage_in_bytes": "200\n",
    "memory/c/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "cpuacct/c/cpuacct.usage": "9007199254740993\n",
    "pids/c/pids.current": "1\n",
    "unified/c/cgroup.procs": "",
    "unified/c/cpu.pressure": pressure,
  });
  const layout: CgroupLayout = {
    kind: "hybrid",
    v1: ["memory", "cpuacct", "pids"].map((name) => ({
      version: 1,
      root: join(root, name),
      controllers: [name],
    })),
    unified: { version: 2, root: join(root, "unified"), controllers: [] },
  };
  const stats = readCgroupStats(layout, "/c");
  assert.equal(stats?.cpu?.usageNs, 9007199254740993n);
  assert.deepEqual(stats?.memory, {
    usageBytes: 200n,
    // Inactive pages can be more than what is used by now: not below zero.
    workingSetBytes: 0n,
    rssBytes: 100n,
    pageFaults: 7n,
    majorPageFaults: 2n,
    limitBytes: 1000n,
    swapUsageBytes: 8n,
    swapLimitBytes: 500n,
  });
  assert.deepEqual(Object.keys(stats?.pressure ?? {}), ["cpu"]);
  assert.equal(readOomKills(layout, "/c"), 2n);
});

test("`keyedValue()` finds whole keys only", () => {
  const text = "anon_thp 1\nanon 2\nfile_anon 3\n";
  assert.equal(keyedValue(text, "anon"), 2n);
  assert.equal(keyedValue(text, "anon_thp"), 1n);
  assert.equal(keyedValue(text, "file_anon"), 3n);
  assert.equal(keyedValue(text, "file"), undefined);
  assert.equal(keyedValue("anon 5", "anon"), 5n);
  assert.equal(keyedValue("", "anon"), undefined);
});

test("`parseNumber()` takes whole numbers only", () => {
  assert.equal(parseNumber("18446744073709551615\n"), 18446744073709551615n);
  assert.equal(parseNumber("-1"), -1n);
  for (const text of ["max", "", "1 2", "0x1", undefined]) assert.equal(parseNumber(text), undefined);
});

test("`parsePressure()` reads both lines, and takes a missing full line as none", () => {
  assert.deepEqual(parsePressure(pressure), {
    some: { totalMicroseconds: 123n, avg10: 1.5, avg60: 0.25, avg300: 0 },
    full: { totalMicroseconds: 45n, avg10: 0, avg60: 0, avg300: 0 },
  });
  const someOnly = parsePressure(pressure.split("\n")[0] ?? "");
  assert.equal(someOnly?.full.totalMicroseconds, 0n);
  assert.equal(parsePressure("garbage"), undefined);
  fc.assert(fc.property(fc.string(), (text) => void parsePressure(text)));
});

test("`readCgroupFile()` reads files of any length, also those the kernel hands out by the page", (t) => {
  const text = "123456\n".repeat(30_000);
  const root = directoryWith(t, { "cgroup.procs": text });
  assert.equal(readCgroupFile(join(root, "cgroup.procs")), text);
  const symbols = readCgroupFile("/proc/kallsyms");
  assert.equal(symbols, readFileSync("/proc/kallsyms", "latin1"));
});

test("`readCgroupFile()` gives undefined for what is not there", () => {
  assert.equal(readCgroupFile("/nonexistent/file"), undefined);
  assert.equal(readCgroupFile("/proc/version/x"), undefined);
});

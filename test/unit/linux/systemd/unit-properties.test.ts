// Limits as systemd is told of them: derived from what is written to the kernel, so that the two cannot differ.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { CgroupResources } from "../../../../src/linux/cgroup/cgroup-resources.ts";
import { resolveDeviceRules } from "../../../../src/linux/cgroup/device-rules.ts";
import { ociFieldNames } from "../../../../src/linux/cgroup/field-names.ts";
import type { CgroupLayout } from "../../../../src/linux/cgroup/layout.ts";
import { planWrites } from "../../../../src/linux/cgroup/plan-writes.ts";
import { deviceProperties } from "../../../../src/linux/systemd/device-properties.ts";
import { cpuMask, propertiesOf } from "../../../../src/linux/systemd/unit-properties.ts";

const controllers = ["blkio", "cpu", "cpuset", "io", "memory", "pids", "hugetlb"];
const layouts: Record<"v1" | "v2", CgroupLayout> = {
  v1: {
    kind: "v1",
    v1: controllers.map((name) => ({ version: 1, root: `/v1/${name}`, controllers: [name] })),
    unified: undefined,
  },
  v2: { kind: "v2", v1: [], unified: { version: 2, root: "/v2", controllers } },
};
const infinity = 0xffff_ffff_ffff_ffffn;

function properties(
  layout: "v1" | "v2",
  resources: CgroupResources,
  {
    version = 252,
    isNew = true,
    files = {},
  }: { version?: number; isNew?: boolean; files?: Record<string, string> } = {},
): Record<string, unknown> {
  const read = (file: string): string | undefined => files[file.slice(file.lastIndexOf("/") + 1)];
  const writes = planWrites(resources, { layout: layouts[layout], path: "/c", read, names: ociFieldNames });
  return Object.fromEntries(
    propertiesOf(writes, { version, isNew, read }).map(([name, { value }]) => [name, value]),
  );
}

test("memory, CPU and tasks of a usual container", () => {
  const usual = {
    memoryLimitBytes: 100n,
    cpuShares: 1024n,
    cpuQuota: 50_000n,
    cpuPeriod: 100_000n,
    pidsLimit: 7n,
  };
  assert.deepEqual(properties("v2", { ...usual, memorySwapLimitBytes: 150n, memoryReservationBytes: 50n }), {
    MemoryMax: 100n,
    MemorySwapMax: 50n,
    MemoryLow: 50n,
    CPUWeight: 100n,
    CPUQuotaPerSecUSec: 500_000n,
    CPUQuotaPeriodUSec: 100_000n,
    TasksMax: 7n,
  });
  assert.deepEqual(properties("v1", usual), {
    MemoryLimit: 100n,
    CPUShares: 1024n,
    CPUQuotaPerSecUSec: 500_000n,
    CPUQuotaPeriodUSec: 100_000n,
    TasksMax: 7n,
  });
});

test("no limit is infinity", () => {
  assert.deepEqual(
    properties("v2", { memoryLimitBytes: -1n, memorySwapLimitBytes: -1n, cpuQuota: -1n, pidsLimit: -1n }),
    {
      MemoryMax: infinity,
      MemorySwapMax: infinity,
      CPUQuotaPerSecUSec: infinity,
      CPUQuotaPeriodUSec: 100_000n,
      TasksMax: infinity,
    },
  );
  assert.equal(properties("v1", { cpuQuota: -1n })["CPUQuotaPerSecUSec"], infinity);
});

test("a quota is rounded up to whole percents, and what is not given is what is set", () => {
  const perSecond = (resources: CgroupResources, layout: "v1" | "v2", files = {}): unknown =>
    properties(layout, resources, { files })["CPUQuotaPerSecUSec"];
  assert.equal(perSecond({ cpuQuota: 12_345n, cpuPeriod: 100_000n }, "v2"), 130_000n);
  assert.equal(perSecond({ cpuQuota: 12_000n, cpuPeriod: 100_000n }, "v2"), 120_000n);
  assert.equal(perSecond({ cpuPeriod: 50_000n }, "v2", { "cpu.max": "10000 100000\n" }), 200_000n);
  assert.equal(perSecond({ cpuQuota: 10_000n }, "v1", { "cpu.cfs_period_us": "50000\n" }), 200_000n);
  assert.equal(
    perSecond({ cpuPeriod: 50_000n }, "v1", {
      "cpu.cfs_period_us": "100000\n",
      "cpu.cfs_quota_us": "10000\n",
    }),
    200_000n,
  );
});

test("files of cgroup v2 that are set by name are told as well", () => {
  const unified = {
    "memory.high": "5",
    "memory.min": "3",
    "memory.max": "max",
    "cpu.max": "max 50000",
    "cpu.weight": "77",
    "io.weight": "default 200",
    "memory.oom.group": "1",
  };
  assert.deepEqual(properties("v2", { unified }), {
    MemoryHigh: 5n,
    MemoryMin: 3n,
    MemoryMax: infinity,
    CPUQuotaPerSecUSec: infinity,
    CPUQuotaPeriodUSec: 50_000n,
    CPUWeight: 77n,
    IOWeight: 200n,
  });
});

test("weights of single devices and throttles are the kernel's alone", () => {
  const blockIo = {
    weight: 1000,
    weightDevices: [{ major: 8, minor: 0, weight: 10 }],
    readBytesPerSecond: [{ major: 8, minor: 0, rate: 5n }],
  };
  assert.deepEqual(properties("v2", { blockIo }, { files: { "io.weight": "" } }), { IOWeight: 10_000n });
  assert.deepEqual(properties("v1", { blockIo }, { files: { "blkio.weight": "" } }), {
    BlockIOWeight: 1000n,
  });
});

test("properties that a systemd does not know yet are left out", () => {
  const asked = { cpusetCpus: "0-1", cpusetMems: "0", cpuIdle: 1n, cpuQuota: 5000n };
  assert.deepEqual(Object.keys(properties("v2", asked, { version: 252 })), [
    "CPUWeight",
    "CPUQuotaPerSecUSec",
    "CPUQuotaPeriodUSec",
    "AllowedCPUs",
    "AllowedMemoryNodes",
  ]);
  assert.equal(properties("v2", asked, { version: 252 })["CPUWeight"], 0n);
  assert.deepEqual(Object.keys(properties("v2", asked, { version: 241 })), ["CPUQuotaPerSecUSec"]);
});

test("one OOM kill for all is a scope's policy, which it is made with", () => {
  const unified = { "memory.oom.group": "1" };
  assert.deepEqual(properties("v2", { unified }, { version: 253 }), { OOMPolicy: "kill" });
  assert.deepEqual(properties("v2", { unified }, { version: 253, isNew: false }), {});
  assert.deepEqual(properties("v2", { unified }, { version: 252 }), {});
});

test("`cpuMask()` has one bit a CPU, the lowest byte first", () => {
  assert.deepEqual([...cpuMask("0-3,8")], [0b1111, 1]);
  assert.deepEqual([...cpuMask("7\n")], [0b1000_0000]);
  assert.deepEqual([...cpuMask("16")], [0, 0, 1]);
});

const procDevices = `Character devices:
  1 mem
  5 /dev/tty
136 pts
136 pts-again

Block devices:
  8 sd
`;

test("device rules become a strict policy", () => {
  const policy = resolveDeviceRules([
    { allow: false },
    { allow: true, type: "c", access: "m" },
    { allow: true, type: "c", major: 1, minor: 3, access: "rw" },
    { allow: true, type: "c", major: 136, access: "rwm" },
    { allow: true, type: "b", major: 8, access: "r" },
    { allow: true, type: "c", major: 99, access: "r" },
  ]);
  const result = deviceProperties(policy, procDevices).map(([name, { value }]) => [name, value]);
  assert.deepEqual(result, [
    ["DevicePolicy", "strict"],
    ["DeviceAllow", []],
    [
      "DeviceAllow",
      [
        ["char-*", "m"],
        ["/dev/char/1:3", "rw"],
        ["char-pts", "rwm"],
        ["block-sd", "r"],
      ],
    ],
  ]);
  assert.deepEqual(
    deviceProperties(resolveDeviceRules([{ allow: true }]), procDevices)[0]?.[1].value,
    "auto",
  );
});

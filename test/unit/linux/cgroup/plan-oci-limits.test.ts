// What the OCI spec limits beyond the CRI, on both versions: each property as writes, or as an error with its name.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { planWrites } from "../../../../src/linux/cgroup/plan-writes.ts";
import { ociFieldNames, type LimitField } from "../../../../src/linux/cgroup/field-names.ts";
import { blkioToIoWeight } from "../../../../src/linux/cgroup/plan-block-io.ts";
import type { CgroupResources } from "../../../../src/linux/cgroup/cgroup-resources.ts";
import type { CgroupLayout } from "../../../../src/linux/cgroup/layout.ts";

const v1Controllers = ["blkio", "cpu", "hugetlb", "memory", "net_cls", "net_prio", "rdma"];
const v1: CgroupLayout = {
  kind: "v1",
  v1: v1Controllers.map((name) => ({ version: 1, root: `/v1/${name}`, controllers: [name] })),
  unified: undefined,
};
const v2: CgroupLayout = {
  kind: "v2",
  v1: [],
  unified: { version: 2, root: "/v2", controllers: ["cpu", "io", "memory", "rdma"] },
};

/** "file=value" of each write; "?" behind those that may be missing. `files`: what is in the cgroup. */
function plan(
  layout: CgroupLayout,
  resources: CgroupResources,
  files: Record<string, string> = {},
): string[] {
  const read = (file: string): string | undefined => files[file.slice(file.lastIndexOf("/") + 1)];
  return planWrites(resources, { layout, path: "/c", read, names: ociFieldNames }).map(
    ({ file, value, ifMissing }) =>
      `${file.slice(file.lastIndexOf("/") + 1)}=${value}${ifMissing === "skip" ? "?" : ""}`,
  );
}

const sda = { major: 8, minor: 0 };

interface Row {
  resources: CgroupResources;
  /** What is written; a text is the property that the error names. */
  v1: string[] | LimitField;
  v2: string[] | LimitField;
  files?: Record<string, string>;
}

const table: Record<string, Row> = {
  reservation: {
    resources: { memoryReservationBytes: 100n },
    v1: ["memory.soft_limit_in_bytes=100"],
    v2: ["memory.low=100"],
  },
  "no reservation": {
    resources: { memoryReservationBytes: -1n },
    v1: ["memory.soft_limit_in_bytes=-1"],
    v2: ["memory.low=max"],
  },
  kernel: {
    resources: { kernelMemoryBytes: 100n },
    v1: ["memory.kmem.limit_in_bytes=100"],
    v2: "kernelMemoryBytes",
  },
  "no limit of kernel memory": {
    resources: { kernelMemoryBytes: -1n },
    v1: ["memory.kmem.limit_in_bytes=-1?"],
    v2: [],
  },
  kernelTCP: {
    resources: { kernelTcpMemoryBytes: 100n },
    v1: ["memory.kmem.tcp.limit_in_bytes=100"],
    v2: "kernelTcpMemoryBytes",
  },
  swappiness: { resources: { memorySwappiness: 0n }, v1: ["memory.swappiness=0"], v2: "memorySwappiness" },
  disableOOMKiller: {
    resources: { disableOomKiller: true },
    v1: ["memory.oom_control=1"],
    v2: "disableOomKiller",
  },
  "OOM killer as it is": { resources: { disableOomKiller: false }, v1: [], v2: [] },
  "OOM killer on again": {
    resources: { disableOomKiller: false },
    files: { "memory.oom_control": "oom_kill_disable 1\nunder_oom 0\n" },
    v1: ["memory.oom_control=0"],
    v2: [],
  },
  "useHierarchy where there is nothing else": {
    resources: { useMemoryHierarchy: true },
    files: { "memory.use_hierarchy": "1\n" },
    v1: [],
    v2: [],
  },
  "useHierarchy on an old kernel": {
    resources: { useMemoryHierarchy: true },
    files: { "memory.use_hierarchy": "0\n" },
    v1: ["memory.use_hierarchy=1"],
    v2: ["memory.use_hierarchy=1"].slice(1),
  },
  burst: { resources: { cpuBurst: 500n }, v1: ["cpu.cfs_burst_us=500"], v2: ["cpu.max.burst=500"] },
  "no burst": { resources: { cpuBurst: 0n }, v1: ["cpu.cfs_burst_us=0?"], v2: ["cpu.max.burst=0?"] },
  idle: { resources: { cpuIdle: 1n }, v1: ["cpu.idle=1"], v2: ["cpu.idle=1"] },
  "idle leaves no weight": {
    resources: { cpuIdle: 1n, cpuShares: 1024n },
    v1: ["cpu.idle=1"],
    v2: ["cpu.idle=1"],
  },
  "idle no more, then a weight": {
    resources: { cpuIdle: 0n, cpuShares: 1024n },
    files: { "cpu.idle": "1\n" },
    v1: ["cpu.idle=0?", "cpu.shares=1024"],
    v2: ["cpu.idle=0?", "cpu.weight=100"],
  },
  "a weight while idle": {
    resources: { cpuShares: 1024n },
    files: { "cpu.idle": "1\n" },
    v1: "cpuShares",
    v2: "cpuShares",
  },
  realtimeRuntime: {
    resources: { cpuRealtimeRuntime: 5000n },
    v1: ["cpu.rt_runtime_us=5000"],
    v2: "cpuRealtimeRuntime",
  },
  realtimePeriod: {
    resources: { cpuRealtimePeriod: 5000n },
    v1: ["cpu.rt_period_us=5000"],
    v2: "cpuRealtimePeriod",
  },
  "realtime with a longer period": {
    resources: { cpuRealtimePeriod: 2_000_000n, cpuRealtimeRuntime: 5000n },
    files: { "cpu.rt_period_us": "1000000\n" },
    v1: ["cpu.rt_period_us=2000000", "cpu.rt_runtime_us=5000"],
    v2: "cpuRealtimeRuntime",
  },
  "realtime with a shorter period": {
    resources: { cpuRealtimePeriod: 500_000n, cpuRealtimeRuntime: 5000n },
    files: { "cpu.rt_period_us": "1000000\n" },
    v1: ["cpu.rt_runtime_us=5000", "cpu.rt_period_us=500000"],
    v2: "cpuRealtimeRuntime",
  },
  "weight with CFQ or iocost": {
    resources: { blockIo: { weight: 1000, weightDevices: [{ ...sda, weight: 10 }] } },
    files: { "blkio.weight": "", "io.weight": "" },
    v1: ["blkio.weight=1000", "blkio.weight_device=8:0 10"],
    v2: ["io.weight=default 10000", "io.weight=8:0 1"],
  },
  "weight with BFQ": {
    resources: { blockIo: { weight: 500, weightDevices: [{ ...sda, weight: 20 }] } },
    files: { "blkio.bfq.weight": "", "io.bfq.weight": "", "io.weight": "" },
    v1: ["blkio.bfq.weight=500", "blkio.bfq.weight_device=8:0 20"],
    v2: ["io.bfq.weight=500", "io.bfq.weight=8:0 20"],
  },
  "weight without a scheduler": { resources: { blockIo: { weight: 500 } }, v1: "weight", v2: "weight" },
  "weight of a device without a scheduler": {
    resources: { blockIo: { weightDevices: [{ ...sda, weight: 500 }] } },
    v1: "weightDevices",
    v2: "weightDevices",
  },
  leafWeight: {
    resources: { blockIo: { leafWeight: 500, weightDevices: [{ ...sda, leafWeight: 20 }] } },
    v1: ["blkio.leaf_weight=500", "blkio.leaf_weight_device=8:0 20"],
    v2: "leafWeight",
  },
  throttles: {
    resources: {
      blockIo: {
        readBytesPerSecond: [{ ...sda, rate: 1n << 60n }],
        writeBytesPerSecond: [{ ...sda, rate: 2n }],
        readOperationsPerSecond: [{ ...sda, rate: 3n }],
        writeOperationsPerSecond: [{ ...sda, rate: 0n }],
      },
    },
    v1: [
      "blkio.throttle.read_bps_device=8:0 1152921504606846976",
      "blkio.throttle.write_bps_device=8:0 2",
      "blkio.throttle.read_iops_device=8:0 3",
      "blkio.throttle.write_iops_device=8:0 0",
    ],
    v2: [
      "io.max=8:0 rbps=1152921504606846976",
      "io.max=8:0 wbps=2",
      "io.max=8:0 riops=3",
      "io.max=8:0 wiops=max",
    ],
  },
  "zero weights": {
    resources: { blockIo: { weight: 0, leafWeight: 0, weightDevices: [sda] } },
    v1: [],
    v2: [],
  },
  classID: {
    resources: { networkClassId: 1_048_577 },
    v1: ["net_cls.classid=1048577"],
    v2: "networkClassId",
  },
  "no classID": { resources: { networkClassId: 0, networkPriorities: [] }, v1: [], v2: [] },
  priorities: {
    resources: { networkPriorities: [{ name: "eth0", priority: 5 }] },
    v1: ["net_prio.ifpriomap=eth0 5"],
    v2: "networkPriorities",
  },
  rdma: {
    resources: { rdma: { mlx5_1: { hcaHandles: 3 }, mlx4_0: { hcaHandles: 0, hcaObjects: 10_000 } } },
    v1: ["rdma.max=mlx5_1 hca_handle=3", "rdma.max=mlx4_0 hca_handle=0 hca_object=10000"],
    v2: ["rdma.max=mlx5_1 hca_handle=3", "rdma.max=mlx4_0 hca_handle=0 hca_object=10000"],
  },
  "unified, also of cgroup itself and as a group for the OOM killer": {
    resources: { unified: { "memory.oom.group": "1", "cgroup.max.depth": "3", "io.max": "8:0 rbps=1" } },
    v1: "unified",
    v2: ["memory.oom.group=1", "cgroup.max.depth=3", "io.max=8:0 rbps=1"],
  },
  hugepages: {
    resources: { hugepageLimits: [{ pageSize: "1GB", limitBytes: 7n }] },
    v1: ["hugetlb.1GB.limit_in_bytes=7", "hugetlb.1GB.rsvd.limit_in_bytes=7?"],
    v2: "hugepageLimits",
  },
};

const layouts = { v1, v2 };

for (const [name, row] of Object.entries(table))
  for (const version of ["v1", "v2"] as const)
    test(`on ${version}: ${name}`, () => {
      const expected = row[version];
      const make = (): string[] => plan(layouts[version], row.resources, row.files);
      if (typeof expected === "string") {
        const property = ociFieldNames[expected];
        assert.throws(make, (error: Error & { code: string }) => {
          assert.equal(error.code, "failed-precondition");
          assert.ok(error.message.startsWith(property), error.message);
          return true;
        });
      } else {
        assert.deepEqual(make(), expected);
      }
    });

test("an error says what is missing", () => {
  const message = (layout: CgroupLayout, resources: CgroupResources): string => {
    try {
      plan(layout, resources);
    } catch (error) {
      return (error as Error).message;
    }
    return "";
  };
  assert.equal(
    message(v2, { networkClassId: 1 }),
    "linux.resources.network.classID cannot be set: the machine has no net_cls cgroup controller, which exists on cgroup v1 alone",
  );
  assert.equal(
    message(v2, { hugepageLimits: [{ pageSize: "2MB", limitBytes: 1n }] }),
    "linux.resources.hugepageLimits[2MB] cannot be set: the machine has no hugetlb cgroup controller",
  );
  assert.equal(
    message(v2, { disableOomKiller: true }),
    "linux.resources.memory.disableOOMKiller cannot be set: cgroup v2 has no memory.oom_control",
  );
  assert.equal(
    message(v2, { blockIo: { weight: 100 } }),
    "linux.resources.blockIO.weight cannot be set: the kernel has neither io.bfq.weight nor io.weight (needs the BFQ I/O scheduler or CONFIG_BLK_CGROUP_IOCOST)",
  );
});

test("values that can never be are refused by the property's name", () => {
  const rows: [CgroupResources, RegExp][] = [
    [{ blockIo: { weight: 9 } }, /blockIO\.weight 9 is not between 10 and 1000/],
    [{ blockIo: { leafWeight: 1001 } }, /blockIO\.leafWeight 1001/],
    [{ blockIo: { weightDevices: [{ ...sda, weight: 1 }] } }, /weightDevice\[0\]\.weight 1 /],
    [{ blockIo: { weightDevices: [{ ...sda, leafWeight: 1 }] } }, /weightDevice\[0\]\.leafWeight 1 /],
    [{ cpuIdle: 2n }, /cpu\.idle 2 is neither 0 nor 1/],
    [
      { networkPriorities: [{ name: "eth0 5\neth1", priority: 1 }] },
      /network\.priorities: .*not an interface/,
    ],
    [{ networkPriorities: [{ name: "", priority: 1 }] }, /network\.priorities/],
    [{ rdma: { "mlx4_0 hca_handle=9": {} } }, /linux\.resources\.rdma: .*not a device/],
    [{ unified: { "cgroup.kill": "1" } }, /unified\["cgroup\.kill"\] is not a file/],
    [
      { memoryLimitBytes: 5n, memorySwapLimitBytes: 4n },
      /memory\.swap 4 is less than linux\.resources\.memory\.limit 5/,
    ],
  ];
  for (const [resources, message] of rows)
    for (const layout of [v1, v2])
      assert.throws(() => plan(layout, resources), { code: "invalid-argument", message });
});

test("on v2 swap alone, without a memory limit, means nothing and is refused", () => {
  assert.throws(() => plan(v2, { memorySwapLimitBytes: 100n }, { "memory.max": "max\n" }), {
    code: "invalid-argument",
    message: /memory\.swap 100 counts memory and swap together: it needs a memory limit/,
  });
});

test("burst never exceeds the quota, whichever way the two go", () => {
  const microseconds = fc.bigInt({ min: 1000n, max: 1_000_000n });
  for (const [layout, quotaFile, burstFile] of [
    [v1, "cpu.cfs_quota_us", "cpu.cfs_burst_us"],
    [v2, "cpu.max", "cpu.max.burst"],
  ] as const)
    fc.assert(
      fc.property(
        microseconds,
        microseconds,
        microseconds,
        microseconds,
        (quota, burst, cpuQuota, cpuBurst) => {
          fc.pre(burst <= quota && cpuBurst <= cpuQuota);
          const now: Record<string, string> = {
            "cpu.cfs_period_us": "100000",
            [quotaFile]: `${quota} 100000`,
            [burstFile]: String(burst),
          };
          for (const write of plan(layout, { cpuQuota, cpuBurst }, now)) {
            const [file = "", value = ""] = write.split("=");
            now[file] = value;
            assert.ok(
              BigInt(now[burstFile] ?? 0) <= BigInt((now[quotaFile] ?? "").split(" ")[0] ?? 0),
              write,
            );
          }
        },
      ),
    );
});

test("`blkioToIoWeight()` maps the ends of one scale to those of the other", () => {
  assert.deepEqual([10, 100, 500, 1000].map(blkioToIoWeight), [1, 910, 4950, 10_000]);
});

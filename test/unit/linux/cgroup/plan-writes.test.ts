import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  sharesToWeight,
  weightToShares,
  type CgroupResources,
} from "../../../../src/linux/cgroup/cgroup-resources.ts";
import type { CgroupLayout } from "../../../../src/linux/cgroup/layout.ts";
import { criFieldNames, ociFieldNames } from "../../../../src/linux/cgroup/field-names.ts";
import { planWrites } from "../../../../src/linux/cgroup/plan-writes.ts";
import { readLimits } from "../../../../src/linux/cgroup/read-limits.ts";

const v1Controllers = ["cpu", "cpuset", "memory", "pids"];
const v1: CgroupLayout = {
  kind: "v1",
  v1: v1Controllers.map((name) => ({ version: 1, root: `/v1/${name}`, controllers: [name] })),
  unified: undefined,
};
const v2: CgroupLayout = {
  kind: "v2",
  v1: [],
  unified: { version: 2, root: "/v2", controllers: ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"] },
};
const unlimited = "9223372036854771712";

/** "file=value" of each write, without the common directory. */
function plan(
  layout: CgroupLayout,
  resources: CgroupResources,
  files: Record<string, string> = {},
): string[] {
  const read = (file: string): string | undefined => files[file.slice(file.lastIndexOf("/") + 1)];
  return planWrites(resources, { layout, path: "/c", read, names: criFieldNames }).map(
    ({ file, value, ifMissing }) =>
      `${file.slice(file.lastIndexOf("/") + 1)}=${value}${ifMissing === "skip" ? "?" : ""}`,
  );
}

test("`planWrites()` of nothing writes nothing", () => {
  const nothing = { cpuShares: 0n, memoryLimitBytes: 0n, cpusetCpus: "", hugepageLimits: [], unified: {} };
  assert.deepEqual(plan(v1, nothing), []);
  assert.deepEqual(plan(v2, nothing), []);
  assert.deepEqual(plan(v2, {}), []);
});

test("`planWrites()` addresses the cgroup in the controller's own hierarchy", () => {
  const read = (): undefined => undefined;
  assert.deepEqual(planWrites({ pidsLimit: 5n }, { layout: v1, path: "/a/b", read, names: ociFieldNames }), [
    { file: "/v1/pids/a/b/pids.max", value: "5", field: "linux.resources.pids.limit", ifMissing: "fail" },
  ]);
});

const fresh = { "memory.limit_in_bytes": unlimited, "memory.memsw.limit_in_bytes": unlimited };

test("on v1 a fresh cgroup gets the memory limit before the one that includes swap", () => {
  assert.deepEqual(plan(v1, { memoryLimitBytes: 100n, memorySwapLimitBytes: 150n }, fresh), [
    "memory.limit_in_bytes=100",
    "memory.memsw.limit_in_bytes=150",
  ]);
});

test("on v1 raising goes from the outside in", () => {
  const now = { "memory.limit_in_bytes": "100", "memory.memsw.limit_in_bytes": "100" };
  assert.deepEqual(plan(v1, { memoryLimitBytes: 200n, memorySwapLimitBytes: 200n }, now), [
    "memory.memsw.limit_in_bytes=200",
    "memory.limit_in_bytes=200",
  ]);
});

test("on v1 the swap on top of memory stays when only the memory limit changes", () => {
  const now = { "memory.limit_in_bytes": "100", "memory.memsw.limit_in_bytes": "130" };
  assert.deepEqual(plan(v1, { memoryLimitBytes: 200n }, now), [
    "memory.memsw.limit_in_bytes=230",
    "memory.limit_in_bytes=200",
  ]);
  assert.deepEqual(plan(v1, { memoryLimitBytes: 50n }, now), [
    "memory.limit_in_bytes=50",
    "memory.memsw.limit_in_bytes=80",
  ]);
  assert.deepEqual(plan(v1, { memoryLimitBytes: -1n }, now), [
    "memory.memsw.limit_in_bytes=-1",
    "memory.limit_in_bytes=-1",
  ]);
});

test("on v1 every write leaves limit <= limit with swap", () => {
  const bytes = fc.bigInt({ min: 1n, max: 1000n });
  fc.assert(
    fc.property(
      bytes,
      bytes,
      bytes,
      fc.bigInt({ min: 0n, max: 1000n }),
      (limit, more, wanted, wantedMore) => {
        const now: Record<string, string> = {
          "memory.limit_in_bytes": String(limit),
          "memory.memsw.limit_in_bytes": String(limit + more),
        };
        const writes = plan(v1, { memoryLimitBytes: wanted, memorySwapLimitBytes: wanted + wantedMore }, now);
        for (const write of writes) {
          const [file = "", value = ""] = write.split("=");
          now[file] = value;
          assert.ok(
            BigInt(now["memory.limit_in_bytes"] ?? 0) <= BigInt(now["memory.memsw.limit_in_bytes"] ?? 0),
          );
        }
      },
    ),
  );
});

test("on v1 without swap accounting the swap limit has nothing to hold", () => {
  const now = { "memory.limit_in_bytes": unlimited };
  assert.deepEqual(plan(v1, { memoryLimitBytes: 100n, memorySwapLimitBytes: 100n }, now), [
    "memory.limit_in_bytes=100",
  ]);
});

test("on v2 swap counts alone", () => {
  assert.deepEqual(plan(v2, { memoryLimitBytes: 100n, memorySwapLimitBytes: 150n }), [
    "memory.max=100",
    "memory.swap.max=50?",
  ]);
  assert.deepEqual(plan(v2, { memoryLimitBytes: 100n, memorySwapLimitBytes: 100n }), [
    "memory.max=100",
    "memory.swap.max=0?",
  ]);
  assert.deepEqual(plan(v2, { memorySwapLimitBytes: 150n }, { "memory.max": "100\n" }), [
    "memory.swap.max=50?",
  ]);
  assert.deepEqual(plan(v2, { memoryLimitBytes: -1n, memorySwapLimitBytes: -1n }), [
    "memory.max=max",
    "memory.swap.max=max?",
  ]);
});

test("no limit of memory takes that of swap away, as on v1", () => {
  assert.deepEqual(plan(v2, { memoryLimitBytes: -1n }), ["memory.max=max", "memory.swap.max=max?"]);
  assert.deepEqual(plan(v2, { memoryLimitBytes: 100n }), ["memory.max=100"]);
});

test("a swap limit below the memory limit is refused by its name", () => {
  const refused = { code: "invalid-argument", message: /memory_swap_limit_in_bytes/ };
  for (const layout of [v1, v2]) {
    assert.throws(() => plan(layout, { memoryLimitBytes: 100n, memorySwapLimitBytes: 99n }, fresh), refused);
  }
  assert.throws(() => plan(v2, { memorySwapLimitBytes: 50n }, { "memory.max": "100" }), refused);
  assert.throws(() => plan(v1, { memorySwapLimitBytes: 50n }, fresh), refused);
});

test("`sharesToWeight()` goes through its three fixed points and never falls", () => {
  assert.deepEqual([0n, 1n, 2n].map(sharesToWeight), [1n, 1n, 1n]);
  assert.equal(sharesToWeight(1024n), 100n);
  assert.deepEqual([262_144n, 1n << 60n].map(sharesToWeight), [10_000n, 10_000n]);
  const shares = fc.bigInt({ min: 0n, max: 300_000n });
  fc.assert(
    fc.property(shares, shares, (one, other) => {
      const [low, high] = one < other ? [one, other] : [other, one];
      assert.ok(sharesToWeight(low) <= sharesToWeight(high));
      assert.equal(sharesToWeight(weightToShares(sharesToWeight(one))), sharesToWeight(one));
    }),
  );
});

test("on v2 quota and period are one value, and what is not given stays", () => {
  assert.deepEqual(plan(v2, { cpuQuota: 5000n, cpuPeriod: 10_000n }), ["cpu.max=5000 10000"]);
  assert.deepEqual(plan(v2, { cpuQuota: 5000n }, { "cpu.max": "max 20000\n" }), ["cpu.max=5000 20000"]);
  assert.deepEqual(plan(v2, { cpuPeriod: 5000n }, { "cpu.max": "700 20000\n" }), ["cpu.max=700 5000"]);
  assert.deepEqual(plan(v2, { cpuQuota: -1n }), ["cpu.max=max 100000"]);
  assert.deepEqual(plan(v2, { cpuShares: 1024n }), ["cpu.weight=100"]);
});

test("on v1 the write that makes quota/period smaller comes first", () => {
  const now = { "cpu.cfs_period_us": "100000" };
  assert.deepEqual(plan(v1, { cpuQuota: 1n, cpuPeriod: 200_000n }, now), [
    "cpu.cfs_period_us=200000",
    "cpu.cfs_quota_us=1",
  ]);
  assert.deepEqual(plan(v1, { cpuQuota: 1n, cpuPeriod: 50_000n }, now), [
    "cpu.cfs_quota_us=1",
    "cpu.cfs_period_us=50000",
  ]);
  assert.deepEqual(plan(v1, { cpuShares: 2n, cpuQuota: -1n, cpuPeriod: 100_000n }, now), [
    "cpu.shares=2",
    "cpu.cfs_quota_us=-1",
  ]);
});

test("CPU lists must look like one", () => {
  assert.deepEqual(plan(v2, { cpusetCpus: "0-3,7", cpusetMems: "0" }), [
    "cpuset.cpus=0-3,7",
    "cpuset.mems=0",
  ]);
  for (const cpusetCpus of ["0 1", "a", "0-", "-1", "0,,1", "0\n1"])
    assert.throws(() => plan(v2, { cpusetCpus }), { code: "invalid-argument", message: /cpuset_cpus/ });
  assert.throws(() => plan(v2, { cpusetMems: "x" }), { code: "invalid-argument", message: /cpuset_mems/ });
});

test("hugepage limits are also reservation limits; zero is tolerated without the controller", () => {
  assert.deepEqual(plan(v2, { hugepageLimits: [{ pageSize: "2MB", limitBytes: 4n }] }), [
    "hugetlb.2MB.max=4",
    "hugetlb.2MB.rsvd.max=4?",
  ]);
  assert.deepEqual(plan(v2, { hugepageLimits: [{ pageSize: "1GB", limitBytes: 0n }] }), [
    "hugetlb.1GB.max=0?",
    "hugetlb.1GB.rsvd.max=0?",
  ]);
  assert.deepEqual(plan(v1, { hugepageLimits: [{ pageSize: "2MB", limitBytes: 0n }] }), []);
  assert.throws(() => plan(v1, { hugepageLimits: [{ pageSize: "2MB", limitBytes: 1n }] }), {
    code: "failed-precondition",
    message: /2MB.*hugetlb/,
  });
  for (const pageSize of ["2", "../2MB", "2mb", "2MB.max", ""])
    assert.throws(() => plan(v2, { hugepageLimits: [{ pageSize, limitBytes: 1n }] }), {
      code: "invalid-argument",
      message: /hugepage_limits: page size/,
    });
});

test("unified keys are files of resource controllers and nothing else", () => {
  assert.deepEqual(plan(v2, { unified: { "memory.high": "1", "io.max": "8:0 rbps=1\n8:16 rbps=2" } }), [
    "memory.high=1",
    "io.max=8:0 rbps=1",
    "io.max=8:16 rbps=2",
  ]);
  for (const key of [
    "cgroup.kill",
    "cgroup.procs",
    "memory",
    "memory.",
    "memory./../cgroup.kill",
    "memory..x",
    "x.y",
    "",
  ])
    assert.throws(() => plan(v2, { unified: { [key]: "1" } }), {
      code: "invalid-argument",
      message: /unified/,
    });
  assert.throws(() => plan(v1, { unified: { "memory.high": "1" } }), {
    code: "failed-precondition",
    message: /memory\.high.*not on cgroup v2/,
  });
});

test("a limit without its controller is an error that names both", () => {
  const bare: CgroupLayout = { kind: "v2", v1: [], unified: { version: 2, root: "/v2", controllers: [] } };
  const limits: CgroupResources[] = [
    { memoryLimitBytes: 1n },
    { cpuShares: 2n },
    { cpusetCpus: "0" },
    { pidsLimit: 1n },
  ];
  for (const limit of limits)
    assert.throws(() => plan(bare, limit), {
      code: "failed-precondition",
      message: /cannot be set: .* controller/,
    });
});

test("`readLimits()` gives the shares back as asked while their weight is the one set", () => {
  const read = (file: string): string | undefined => (file.endsWith("cpu.weight") ? "17\n" : undefined);
  const context = { layout: v2, path: "/c", read };
  assert.equal(sharesToWeight(102n), 17n);
  assert.equal(readLimits(context, { cpuShares: 102n }).cpuShares, 102n);
  assert.equal(readLimits(context, { cpuShares: 1024n }).cpuShares, weightToShares(17n));
});

test("`readLimits()` shows no limit as zero", () => {
  const values: Record<string, string> = {
    "memory.max": "max",
    "memory.swap.max": "max",
    "cpu.max": "max 100000",
    "pids.max": "max",
  };
  const read = (file: string): string | undefined => values[file.slice("/v2/c/".length)];
  assert.deepEqual(readLimits({ layout: v2, path: "/c", read }), {
    cpuPeriod: 100_000n,
    cpuQuota: 0n,
    cpuShares: 0n,
    memoryLimitBytes: 0n,
    memorySwapLimitBytes: 0n,
    cpusetCpus: "",
    cpusetMems: "",
    hugepageLimits: [],
    pidsLimit: 0n,
  });
});

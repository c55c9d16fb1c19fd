// The limits that the OCI spec has beyond the CRI, on the kernel that is there: each is set and read back, or refused
// by its name with what is missing.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { hasCode } from "../../../src/base/errors.ts";
import { CgroupManager } from "../../../src/linux/cgroup/cgroup-manager.ts";
import type { CgroupResources } from "../../../src/linux/cgroup/cgroup-resources.ts";
import { ociFieldNames } from "../../../src/linux/cgroup/field-names.ts";
import { hierarchyOf } from "../../../src/linux/cgroup/layout.ts";
import { cgroupFixture, fileOf, isRoot, needsController, until, version } from "./cgroup-fixture.ts";

const MiB = 1024n * 1024n;

/** A whole block device of the machine. */
function blockDevice(): { major: number; minor: number } | undefined {
  for (const name of readdirSync("/sys/block")) {
    if (/^(?:loop|ram|zram|nbd)/.test(name)) continue;
    const [major = 0, minor = 0] = readFileSync(`/sys/block/${name}/dev`, "utf8")
      .trim()
      .split(":")
      .map(Number);
    return { major, minor };
  }
  return undefined;
}
const device = isRoot ? blockDevice() : undefined;
const on = (rate: bigint) => [{ major: device?.major ?? 0, minor: device?.minor ?? 0, rate }];

interface Row {
  controller: string;
  resources: CgroupResources;
  /** The file and what it must say afterwards; a text alone: the error's beginning. */
  v1: [file: string, content: RegExp] | string;
  v2: [file: string, content: RegExp] | string;
  needsDevice?: boolean;
}

const rows: Record<string, Row> = {
  "memory.reservation": {
    controller: "memory",
    resources: { memoryReservationBytes: 32n * MiB },
    v1: ["memory.soft_limit_in_bytes", /^33554432$/],
    v2: ["memory.low", /^33554432$/],
  },
  "memory.kernelTCP": {
    controller: "memory",
    resources: { kernelTcpMemoryBytes: 32n * MiB },
    v1: ["memory.kmem.tcp.limit_in_bytes", /^33554432$/],
    v2: "linux.resources.memory.kernelTCP cannot be set",
  },
  "memory.swappiness": {
    controller: "memory",
    resources: { memorySwappiness: 7n },
    v1: ["memory.swappiness", /^7$/],
    v2: "linux.resources.memory.swappiness cannot be set",
  },
  "memory.disableOOMKiller": {
    controller: "memory",
    resources: { disableOomKiller: true },
    v1: ["memory.oom_control", /^oom_kill_disable 1$/m],
    v2: "linux.resources.memory.disableOOMKiller cannot be set",
  },
  "memory.useHierarchy": {
    controller: "memory",
    resources: { useMemoryHierarchy: true },
    v1: ["memory.use_hierarchy", /^1$/],
    v2: ["memory.max", /^max$/],
  },
  "cpu.burst": {
    controller: "cpu",
    resources: { cpuQuota: 50_000n, cpuPeriod: 100_000n, cpuBurst: 20_000n },
    v1: ["cpu.cfs_burst_us", /^20000$/],
    v2: ["cpu.max.burst", /^20000$/],
  },
  "cpu.idle": {
    controller: "cpu",
    resources: { cpuIdle: 1n, cpuShares: 512n },
    v1: ["cpu.idle", /^1$/],
    v2: ["cpu.idle", /^1$/],
  },
  "cpu.realtimePeriod": {
    controller: "cpu",
    resources: { cpuRealtimePeriod: 500_000n },
    v1: ["cpu.rt_period_us", /^500000$/],
    v2: "linux.resources.cpu.realtimePeriod cannot be set",
  },
  "blockIO.throttle*": {
    controller: version(new CgroupManager(), "blkio") === 1 ? "blkio" : "io",
    resources: { blockIo: { readBytesPerSecond: on(1_048_576n), writeOperationsPerSecond: on(100n) } },
    v1: ["blkio.throttle.read_bps_device", / 1048576$/],
    v2: ["io.max", / rbps=1048576 wbps=max riops=max wiops=100$/],
    needsDevice: true,
  },
};

for (const [name, { controller, resources, needsDevice, ...expected }] of Object.entries(rows))
  test(`${name} is set, or refused by its name`, needsController(controller), (t) => {
    if (needsDevice === true && device === undefined) return t.skip("needs a block device");
    const { path } = cgroupFixture(t);
    const manager = new CgroupManager(undefined, ociFieldNames);
    const outcome = version(manager, controller) === 1 ? expected.v1 : expected.v2;
    manager.create(path);
    if (typeof outcome === "string") {
      assert.throws(
        () => manager.setResources(path, resources),
        (error) => error instanceof Error && error.message.startsWith(outcome),
      );
    } else {
      const [file, content] = outcome;
      const hierarchy = hierarchyOf(manager.layout, controller);
      if (!existsSync(`${hierarchy?.root}${path}/${file}`)) return t.skip(`needs a kernel with ${file}`);
      manager.setResources(path, resources);
      assert.match(fileOf(manager, controller, path, file), content);
    }
    return undefined;
  });

const noController: [controller: string, CgroupResources, RegExp][] = [
  ["net_cls", { networkClassId: 1 }, /^linux\.resources\.network\.classID cannot be set: .* net_cls /],
  [
    "net_prio",
    { networkPriorities: [{ name: "lo", priority: 1 }] },
    /^linux\.resources\.network\.priorities cannot be set: .* net_prio /,
  ],
  [
    "rdma",
    { rdma: { mlx5_1: { hcaHandles: 1 } } },
    /^linux\.resources\.rdma\[mlx5_1\] cannot be set: .* rdma /,
  ],
];

for (const [controller, resources, message] of noController)
  test(`a limit of ${controller} is an error where it is not there`, needsController("memory"), (t) => {
    const { path } = cgroupFixture(t);
    const manager = new CgroupManager(undefined, ociFieldNames);
    if (hierarchyOf(manager.layout, controller) !== undefined)
      return t.skip(`needs a machine without ${controller}`);
    manager.create(path);
    assert.throws(() => manager.setResources(path, resources), { code: "failed-precondition", message });
    return undefined;
  });

test("a block weight is set where a scheduler has one, and else an error says what it needs", (t) => {
  if (!isRoot) return t.skip("needs root");
  const { path } = cgroupFixture(t);
  const manager = new CgroupManager(undefined, ociFieldNames);
  const hierarchy = hierarchyOf(manager.layout, "blkio") ?? hierarchyOf(manager.layout, "io");
  if (hierarchy === undefined) return t.skip("needs the blkio or io cgroup controller");
  manager.create(path);
  const files = ["blkio.weight", "blkio.bfq.weight", "io.bfq.weight", "io.weight"];
  const file = files.map((name) => `${hierarchy.root}${path}/${name}`).find((name) => existsSync(name));
  const set = (): void => manager.setResources(path, { blockIo: { weight: 1000 } });
  if (file === undefined) {
    assert.throws(set, {
      code: "failed-precondition",
      message: /blockIO\.weight .*needs the BFQ I\/O scheduler/,
    });
  } else {
    set();
    assert.match(readFileSync(file, "utf8"), /\b1000/);
  }
  return undefined;
});

test("what a kernel no longer limits is refused with what it needs", needsController("memory"), (t) => {
  const { path } = cgroupFixture(t);
  const manager = new CgroupManager(undefined, ociFieldNames);
  manager.create(path);
  if (version(manager, "memory") === 2) {
    assert.throws(() => manager.setResources(path, { kernelMemoryBytes: 32n * MiB }), {
      message: "linux.resources.memory.kernel cannot be set: cgroup v2 has no memory.kmem.limit_in_bytes",
    });
    manager.setResources(path, { kernelMemoryBytes: -1n });
    return;
  }
  const blkio = hierarchyOf(manager.layout, "blkio");
  if (blkio === undefined || existsSync(`${blkio.root}${path}/blkio.leaf_weight`)) return;
  assert.throws(() => manager.setResources(path, { blockIo: { leafWeight: 100 } }), {
    message: /^linux\.resources\.blockIO\.leafWeight: write 100 to .*: ENOENT \(needs the CFQ I\/O scheduler/,
  });
});

test("burst and quota go up and down together", needsController("cpu"), (t) => {
  const { manager, path } = cgroupFixture(t);
  manager.create(path, { cpuQuota: 50_000n, cpuPeriod: 100_000n });
  for (const [cpuQuota, cpuBurst] of [
    [50_000n, 50_000n],
    [10_000n, 5000n],
    [80_000n, 70_000n],
    [20_000n, 0n],
  ] as const) {
    manager.setResources(path, { cpuQuota, cpuBurst });
    const file = version(manager, "cpu") === 1 ? "cpu.cfs_burst_us" : "cpu.max.burst";
    assert.equal(fileOf(manager, "cpu", path, file), String(cpuBurst));
  }
});

test("an idle cgroup has no weight until it is idle no more", needsController("cpu"), (t) => {
  const { manager, path } = cgroupFixture(t);
  manager.create(path, { cpuIdle: 1n });
  assert.throws(() => manager.setResources(path, { cpuShares: 512n }), {
    code: "failed-precondition",
    message: /cpu_shares cannot be set: the cgroup is idle/,
  });
  manager.setResources(path, { cpuIdle: 0n, cpuShares: 512n });
  assert.equal(manager.readResources(path, { cpuShares: 512n }).cpuShares, 512n);
});

test(
  "with checkBeforeUpdate a limit below what is in use is refused at once",
  needsController("memory"),
  async (t) => {
    const { manager, path, run } = cgroupFixture(t);
    manager.create(path, { memoryLimitBytes: 256n * MiB });
    await run("dd if=/dev/zero bs=20M count=1 | sleep 100");
    assert.ok(await until(() => (manager.stats(path)?.memory?.usageBytes ?? 0n) > 18n * MiB));
    await assert.rejects(
      manager.updateResources(path, { memoryLimitBytes: 8n * MiB, checkMemoryBeforeUpdate: true }),
      (error) => {
        assert.ok(hasCode(error, "failed-precondition"), String(error));
        assert.match(
          String(error),
          /memory_limit_in_bytes: write 8388608 to .*: EBUSY \(more than that is in use\)/,
        );
        return true;
      },
    );
    assert.equal(manager.readResources(path).memoryLimitBytes, 256n * MiB);
  },
);

test(
  "with memory.oom.group the OOM killer ends all processes of a cgroup",
  needsController("memory"),
  async (t) => {
    const { manager, path, run } = cgroupFixture(t);
    if (version(manager, "memory") !== 2) return t.skip("needs the memory controller on cgroup v2");
    manager.create(path, {
      memoryLimitBytes: 16n * MiB,
      memorySwapLimitBytes: 16n * MiB,
      unified: { "memory.oom.group": "1" },
    });
    const bystander = await run("sleep 100");
    await run("exec tail /dev/zero");
    assert.ok(await until(() => bystander.signalCode === "SIGKILL"));
    assert.ok(await until(() => !manager.hasProcesses(path)));
    return undefined;
  },
);

import assert from "node:assert/strict";
import { closeSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { hasCode } from "../../../src/base/errors.ts";
import { hierarchyOf } from "../../../src/linux/cgroup/layout.ts";
import { asRoot, cgroupFixture, exitOf, fileOf, needsController, until, version } from "./cgroup-fixture.ts";

const MiB = 1024n * 1024n;

test("limits that are set can be read back", needsController("memory"), (t) => {
  const { manager, path } = cgroupFixture(t);
  const asked = {
    cpuPeriod: 50_000n,
    cpuQuota: 25_000n,
    cpuShares: 102n,
    memoryLimitBytes: 64n * MiB,
    memorySwapLimitBytes: 64n * MiB,
    pidsLimit: 100n,
  };
  manager.create(path, asked);
  const { hugepageLimits, cpusetCpus, cpusetMems, memorySwapLimitBytes, ...limits } = manager.readResources(
    path,
    asked,
  );
  assert.deepEqual({ ...limits, memorySwapLimitBytes: asked.memorySwapLimitBytes }, asked);
  // 0 where the kernel has no swap accounting.
  assert.ok([0n, asked.memorySwapLimitBytes].includes(memorySwapLimitBytes));
  assert.deepEqual(hugepageLimits, []);
  assert.deepEqual([typeof cpusetCpus, typeof cpusetMems], ["string", "string"]);
});

test("without limits everything reads as not set", needsController("memory"), (t) => {
  const { manager, path } = cgroupFixture(t);
  manager.create(path);
  const limits = manager.readResources(path);
  const { memoryLimitBytes, memorySwapLimitBytes, cpuQuota, pidsLimit } = limits;
  assert.deepEqual([memoryLimitBytes, memorySwapLimitBytes, cpuQuota, pidsLimit], [0n, 0n, 0n, 0n]);
});

test(
  "memory limits go up and down, whatever the order of the two files",
  needsController("memory"),
  async (t) => {
    const { manager, path } = cgroupFixture(t);
    manager.create(path);
    for (const megabytes of [64n, 256n, 32n, 512n]) {
      const bytes = megabytes * MiB;
      await manager.updateResources(path, { memoryLimitBytes: bytes, memorySwapLimitBytes: bytes * 2n });
      assert.equal(manager.readResources(path).memoryLimitBytes, bytes);
    }
    await manager.updateResources(path, { memoryLimitBytes: 16n * MiB });
    assert.equal(manager.readResources(path).memoryLimitBytes, 16n * MiB);
    await manager.updateResources(path, { memoryLimitBytes: -1n, memorySwapLimitBytes: -1n });
    assert.equal(manager.readResources(path).memoryLimitBytes, 0n);
  },
);

test(
  "a memory limit below what is in use is refused, and nobody dies",
  needsController("memory"),
  async (t) => {
    const { manager, path, run } = cgroupFixture(t);
    manager.create(path, { memoryLimitBytes: 256n * MiB, memorySwapLimitBytes: 256n * MiB });
    const child = await run("dd if=/dev/zero bs=40M count=1 | sleep 100");
    assert.ok(await until(() => (manager.stats(path)?.memory?.rssBytes ?? 0n) > 38n * MiB));
    await assert.rejects(
      manager.updateResources(path, { memoryLimitBytes: 4n * MiB, memorySwapLimitBytes: 4n * MiB }),
      (error) => {
        assert.ok(hasCode(error, "failed-precondition"), String(error));
        assert.match(String(error), /write 4194304 to \/.*memory\.(?:max|limit_in_bytes): EBUSY/);
        return true;
      },
    );
    assert.equal(child.exitCode ?? child.signalCode, null);
    assert.equal(manager.oomKills(path), 0n);
  },
);

test(
  "the OOM killer's work is counted and can be read from the descriptor",
  needsController("memory"),
  async (t) => {
    const { manager, path, run } = cgroupFixture(t);
    manager.create(path, { memoryLimitBytes: 8n * MiB, memorySwapLimitBytes: 8n * MiB });
    const events = manager.oomEventsFile(path);
    assert.ok(events !== undefined);
    const child = await run("exec tail /dev/zero");
    assert.equal(await exitOf(child), "SIGKILL");
    assert.equal(manager.oomKills(path), 1n);
    assert.match(readFileSync(events, "utf8"), /^oom_kill 1$/m);
    closeSync(events);
  },
);

test("the pids limit holds", needsController("pids"), async (t) => {
  const { manager, path, run } = cgroupFixture(t);
  manager.create(path, { pidsLimit: 3n });
  const child = await run("sleep 100 & sleep 100 & sleep 100 & wait");
  assert.notEqual(await exitOf(child), 0);
});

test("the CPU quota and its period change together in either direction", needsController("cpu"), (t) => {
  const { manager, path } = cgroupFixture(t);
  manager.create(`${path}/child`);
  manager.setResources(path, { cpuQuota: 50_000n, cpuPeriod: 100_000n });
  const steps: [bigint, bigint][] = [
    [50_000n, 100_000n],
    [5000n, 10_000n],
    [250_000n, 500_000n],
    [50_000n, 100_000n],
  ];
  for (const [cpuQuota, cpuPeriod] of steps) {
    manager.setResources(`${path}/child`, { cpuQuota, cpuPeriod });
    const limits = manager.readResources(`${path}/child`);
    assert.deepEqual([limits.cpuQuota, limits.cpuPeriod], [cpuQuota, cpuPeriod]);
  }
  manager.setResources(`${path}/child`, { cpuQuota: -1n });
  assert.equal(manager.readResources(`${path}/child`).cpuQuota, 0n);
});

test(
  "a cpuset is set, and one the machine does not have is refused by name",
  needsController("cpuset"),
  (t) => {
    const { manager, path } = cgroupFixture(t);
    manager.create(path, { cpusetCpus: "0" });
    assert.equal(manager.readResources(path).cpusetCpus, "0");
    assert.throws(
      () => manager.setResources(path, { cpusetCpus: "4000" }),
      /write 4000 to \/.*\/cpuset\.cpus: E/,
    );
  },
);

test("a limit of a controller that is missing is an error, its absence is not", asRoot, (t) => {
  const { manager, path } = cgroupFixture(t);
  manager.create(path);
  if (hierarchyOf(manager.layout, "hugetlb") === undefined) {
    manager.setResources(path, { hugepageLimits: [{ pageSize: "2MB", limitBytes: 0n }] });
    assert.throws(
      () => manager.setResources(path, { hugepageLimits: [{ pageSize: "2MB", limitBytes: 2n * MiB }] }),
      { code: "failed-precondition", message: /hugetlb/ },
    );
  }
  if (version(manager, "memory") === 1)
    assert.throws(() => manager.setResources(path, { unified: { "memory.high": "1048576" } }), {
      code: "failed-precondition",
      message: /memory\.high/,
    });
});

test("files of cgroup v2 are set by name", needsController("memory"), (t) => {
  const { manager, path } = cgroupFixture(t);
  if (version(manager, "memory") !== 2) return t.skip("needs the memory controller on cgroup v2");
  manager.create(path, { unified: { "memory.high": "33554432", "memory.low": "0" } });
  assert.equal(fileOf(manager, "memory", path, "memory.high"), "33554432");
  return undefined;
});

test("statistics tell what a busy process uses", needsController("memory"), async (t) => {
  const { manager, path, run } = cgroupFixture(t);
  manager.create(path, { memoryLimitBytes: 128n * MiB, memorySwapLimitBytes: 128n * MiB });
  await run("dd if=/dev/zero bs=20M count=1 | while :; do :; done");
  assert.ok(await until(() => (manager.stats(path)?.memory?.rssBytes ?? 0n) > 18n * MiB));
  const stats = manager.stats(path);
  assert.ok(stats?.cpu !== undefined && stats.memory !== undefined);
  assert.ok(stats.cpu.usageNs > 0n);
  assert.ok(stats.memory.usageBytes >= stats.memory.workingSetBytes);
  assert.ok(stats.memory.workingSetBytes >= 18n * MiB);
  assert.ok(stats.memory.pageFaults > 0n);
  assert.equal(stats.memory.limitBytes, 128n * MiB);
  assert.ok((stats.taskCount ?? 0n) >= 1n);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import type { CgroupStats } from "../../../src/linux/cgroup/cgroup-stats.ts";
import { NodeStats, type MeasuredContainer, type MeasuredSandbox } from "../../../src/stats/node-stats.ts";

const memory = {
  usageBytes: 300n,
  workingSetBytes: 200n,
  rssBytes: 100n,
  pageFaults: 1n,
  majorPageFaults: 0n,
};

const container = (id: string, state: MeasuredContainer["state"] = "running"): MeasuredContainer => ({
  record: { id, cgroupPath: `/cricket/${id}` },
  state,
});
const sandbox: MeasuredSandbox = { record: { id: "s", cgroupPath: "/cricket/pod" }, isReady: true };

function statsOf(cgroups: Record<string, CgroupStats>, containers: MeasuredContainer[] = []) {
  return new NodeStats<MeasuredSandbox, MeasuredContainer>({
    cgroups: { stats: (path) => cgroups[path] },
    writableLayer: (id) => (id === "a" ? { bytes: 10, inodes: 2 } : undefined),
    writableLayerMountpoint: "/var/lib/cricket/containers",
    interfacesOf: (sandboxes) =>
      Promise.resolve(
        new Map(
          sandboxes.map(({ record }) => [
            record.id,
            [{ name: "eth0", rxBytes: 1n, rxErrors: 0n, txBytes: 2n, txErrors: 0n }],
          ]),
        ),
      ),
    containersOf: () => containers,
  });
}

test("`ofContainers()` gives usage, what is left of the limits, and the writable layer", async () => {
  const stats = statsOf({
    "/cricket/a": {
      cpu: { usageNs: 7n },
      memory: { ...memory, limitBytes: 1000n, swapUsageBytes: 5n, swapLimitBytes: 4n },
      pressure: {},
    },
  });
  const [usage] = await stats.ofContainers([container("a")]);
  assert.ok(usage?.usage !== undefined && usage.writableLayer !== undefined);
  const { timestampNs, ...rest } = usage.usage;
  assert.ok(timestampNs > 1_600_000_000_000_000_000n);
  assert.deepEqual(rest, {
    cpu: { usageCoreNs: 7n },
    memory: { ...memory, availableBytes: 800n },
    swap: { usageBytes: 5n, availableBytes: 0n },
  });
  assert.deepEqual(
    { ...usage.writableLayer, timestampNs: 0n },
    { timestampNs: 0n, mountpoint: "/var/lib/cricket/containers", usedBytes: 10n, inodesUsed: 2n },
  );
});

test("`ofContainers()` keeps containers without processes, without usage", async () => {
  const stats = statsOf({ "/cricket/gone": { pressure: {} } });
  const usages = await stats.ofContainers([container("gone", "exited"), container("b")]);
  assert.deepEqual(
    usages.map((usage) => [usage.container.record.id, usage.usage, usage.writableLayer]),
    [
      ["gone", undefined, undefined],
      ["b", undefined, undefined],
    ],
  );
});

test("`ofSandboxes()` has the pod's own usage, its network and its containers", async () => {
  const pod: CgroupStats = { cpu: { usageNs: 9n }, memory, taskCount: 4n, pressure: {} };
  const [usage] = await statsOf({ "/cricket/pod": pod }, [container("a")]).ofSandboxes([sandbox]);
  assert.equal(usage?.usage?.cpu.usageCoreNs, 9n);
  assert.equal(usage?.processCount, 4n);
  assert.equal(usage?.network?.interfaces[0]?.name, "eth0");
  assert.deepEqual(
    usage?.containers.map((one) => one.container.record.id),
    ["a"],
  );
});

test("`ofSandboxes()` asks nothing of a sandbox that is not ready", async () => {
  const [usage] = await statsOf({ "/cricket/pod": { pressure: {} } }).ofSandboxes([
    { ...sandbox, isReady: false },
  ]);
  assert.deepEqual([usage?.usage, usage?.network], [undefined, undefined]);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseResources } from "../../../../src/oci/parse-spec.ts";
import { resolveDeviceRules } from "../../../../src/linux/cgroup/device-rules.ts";
import { cgroupPathOf, cgroupResourcesOf, deviceRulesOf } from "../../../../src/oci/runtime/cgroup-limits.ts";

test("`cgroupPathOf()` takes absolute paths, puts others below its own parent, and wants --systemd-cgroup for systemd's form", () => {
  assert.equal(cgroupPathOf("id", undefined), "/cricket-oci/id");
  assert.equal(cgroupPathOf("id", "/a/b"), "/a/b");
  assert.equal(cgroupPathOf("id", "a"), "/cricket-oci/a");
  assert.throws(() => cgroupPathOf("id", "system.slice:libpod:x"), /needs --systemd-cgroup/);
});

test("`cgroupResourcesOf()` takes over every property of linux.resources", () => {
  const device = { major: 8, minor: 0 };
  const resources = parseResources(
    JSON.stringify({
      memory: {
        limit: 1,
        reservation: 2,
        swap: 3,
        kernel: 4,
        kernelTCP: 5,
        swappiness: 6,
        disableOOMKiller: true,
        useHierarchy: true,
        checkBeforeUpdate: true,
      },
      cpu: {
        shares: 7,
        quota: 8,
        burst: 9,
        period: 10,
        realtimeRuntime: 11,
        realtimePeriod: 12,
        cpus: "0",
        mems: "0-1",
        idle: 1,
      },
      pids: { limit: 13 },
      blockIO: {
        weight: 14,
        leafWeight: 15,
        weightDevice: [{ ...device, weight: 16, leafWeight: 17 }],
        throttleReadBpsDevice: [{ ...device, rate: 18 }],
        throttleWriteBpsDevice: [{ ...device, rate: 19 }],
        throttleReadIOPSDevice: [{ ...device, rate: 20 }],
        throttleWriteIOPSDevice: [{ ...device, rate: 21 }],
      },
      hugepageLimits: [{ pageSize: "2MB", limit: 22 }],
      network: { classID: 23, priorities: [{ name: "lo", priority: 24 }] },
      rdma: { mlx5_1: { hcaHandles: 25, hcaObjects: 26 } },
      unified: { "memory.high": "27" },
    }),
  );
  assert.deepEqual(cgroupResourcesOf(resources), {
    memoryLimitBytes: 1n,
    memoryReservationBytes: 2n,
    memorySwapLimitBytes: 3n,
    kernelMemoryBytes: 4n,
    kernelTcpMemoryBytes: 5n,
    memorySwappiness: 6n,
    disableOomKiller: true,
    useMemoryHierarchy: true,
    checkMemoryBeforeUpdate: true,
    cpuShares: 7n,
    cpuQuota: 8n,
    cpuBurst: 9n,
    cpuPeriod: 10n,
    cpuRealtimeRuntime: 11n,
    cpuRealtimePeriod: 12n,
    cpusetCpus: "0",
    cpusetMems: "0-1",
    cpuIdle: 1n,
    pidsLimit: 13n,
    blockIo: {
      weight: 14,
      leafWeight: 15,
      weightDevices: [{ ...device, weight: 16, leafWeight: 17 }],
      readBytesPerSecond: [{ ...device, rate: 18n }],
      writeBytesPerSecond: [{ ...device, rate: 19n }],
      readOperationsPerSecond: [{ ...device, rate: 20n }],
      writeOperationsPerSecond: [{ ...device, rate: 21n }],
    },
    hugepageLimits: [{ pageSize: "2MB", limitBytes: 22n }],
    networkClassId: 23,
    networkPriorities: [{ name: "lo", priority: 24 }],
    rdma: { mlx5_1: { hcaHandles: 25, hcaObjects: 26 } },
    unified: { "memory.high": "27" },
  });
});

test("`cgroupResourcesOf()` of nothing is nothing", () => {
  assert.deepEqual(cgroupResourcesOf({}), {});
  assert.deepEqual(cgroupResourcesOf({ memory: {}, cpu: {}, blockIO: {}, network: {} }), { blockIo: {} });
});

test("`deviceRulesOf()` allows no device but the usual ones where the spec says nothing of them", () => {
  const { allowByDefault, exceptions } = resolveDeviceRules(deviceRulesOf({}));
  assert.equal(allowByDefault, false);
  // The others may be made, and not opened.
  const opened = exceptions
    .filter(({ access }) => access !== 1)
    .map(({ type, major, minor }) => [type, major, minor]);
  assert.deepEqual(opened, [
    ...[3, 5, 7, 8, 9].map((minor) => ["c", 1, minor]),
    ["c", 5, 0],
    ["c", 5, 2],
    ["c", 136, -1],
  ]);
  assert.ok(resolveDeviceRules(deviceRulesOf({ resources: { devices: [{ allow: true }] } })).allowByDefault);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import type { LinuxResources } from "../../../src/sandbox/sandbox-config.ts";
import { sumOf } from "../../../src/sandbox/update-sandbox-resources.ts";

const resources = (some: Partial<LinuxResources>): LinuxResources => ({
  cpuPeriod: 0n,
  cpuQuota: 0n,
  cpuShares: 0n,
  memoryLimitBytes: 0n,
  memorySwapLimitBytes: 0n,
  oomScoreAdj: 0,
  cpusetCpus: "",
  cpusetMems: "",
  hugepageLimits: [],
  unified: {},
  ...some,
});

test("`sumOf()` adds limits, shares and quotas of containers and overhead", () => {
  const sum = sumOf(
    resources({ cpuPeriod: 100_000n, cpuQuota: 50_000n, cpuShares: 512n, memoryLimitBytes: 100n }),
    resources({ cpuPeriod: 50_000n, cpuQuota: 5_000n, cpuShares: 100n, memoryLimitBytes: 20n }),
  );
  assert.deepEqual(
    [sum.cpuPeriod, sum.cpuQuota, sum.cpuShares, sum.memoryLimitBytes],
    [100_000n, 60_000n, 612n, 120n],
  );
});

test("`sumOf()` makes no limit where the containers have none", () => {
  const sum = sumOf(
    resources({ cpuQuota: -1n, memorySwapLimitBytes: -1n }),
    resources({ cpuQuota: 10_000n, memoryLimitBytes: 20n }),
  );
  assert.deepEqual([sum.cpuQuota, sum.memoryLimitBytes, sum.memorySwapLimitBytes], [-1n, 0n, -1n]);
});

test("`sumOf()` takes one alone as it is, without the files of a single container", () => {
  const alone = sumOf(undefined, resources({ memoryLimitBytes: 5n, unified: { "memory.high": "4" } }));
  assert.equal(alone.memoryLimitBytes, 5n);
  assert.equal(alone.unified, undefined);
  assert.deepEqual(sumOf(undefined, undefined), {});
});

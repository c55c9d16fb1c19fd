// Hugepage limits, where the controller is: on a hybrid machine it may be the only one on the unified hierarchy, and
// then nobody has switched it on for the path.
import assert from "node:assert/strict";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { test, type TestContext } from "node:test";
import type { CgroupManager } from "../../../src/linux/cgroup/cgroup-manager.ts";
import { cgroupFixture, needsController } from "./cgroup-fixture.ts";

/** The root's subtree_control belongs to the machine: it is put back as it was. */
function keepRootControllers(t: TestContext, { layout }: CgroupManager): void {
  if (layout.kind !== "hybrid" || layout.unified === undefined) return;
  const file = `${layout.unified.root}/cgroup.subtree_control`;
  if (readFileSync(file, "utf8").includes("hugetlb")) return;
  t.after(() => {
    // Another test run may have cgroups that use it now.
    try {
      writeFileSync(file, "-hugetlb");
    } catch {
      return;
    }
  });
}

function pageSizes(): string[] {
  return readdirSync("/sys/kernel/mm/hugepages").map((name) => {
    const kilobytes = Number(/hugepages-(\d+)kB/.exec(name)?.[1] ?? 0);
    if (kilobytes >= 1024 * 1024) return `${kilobytes / 1024 / 1024}GB`;
    return kilobytes >= 1024 ? `${kilobytes / 1024}MB` : `${kilobytes}KB`;
  });
}

test(
  "hugepage limits are set and read back for every size of the machine",
  needsController("hugetlb"),
  (t) => {
    const { manager, path } = cgroupFixture(t);
    keepRootControllers(t, manager);
    const hugepageLimits = pageSizes().map((pageSize) => ({ pageSize, limitBytes: 1024n ** 3n }));
    if (hugepageLimits.length === 0) return t.skip("needs hugepages");
    manager.create(`${path}/container`, { hugepageLimits });
    assert.deepEqual(
      manager.readResources(`${path}/container`, { hugepageLimits }).hugepageLimits,
      hugepageLimits,
    );
    return undefined;
  },
);

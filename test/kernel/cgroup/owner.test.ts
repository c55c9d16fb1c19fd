// Cgroups that are handed to the root of a user namespace.
import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { giveCgroup } from "../../../src/linux/cgroup/cgroup-owner.ts";
import { asRoot, cgroupFixture } from "./cgroup-fixture.ts";

test("`giveCgroup()` gives a cgroup and its processes away, and keeps its limits", asRoot, (t) => {
  const { manager, path } = cgroupFixture(t);
  manager.create(`${path}/given`, { memoryLimitBytes: 1n << 26n });
  giveCgroup(manager.layout, `${path}/given`, 1234);
  const { unified, kind } = manager.layout;
  if (kind !== "v2" || unified === undefined) return t.skip("needs cgroup v2 alone");
  const ownerOf = (name: string): number => statSync(join(unified.root, path, "given", name)).uid;
  assert.deepEqual(
    ["", "cgroup.procs", "cgroup.subtree_control", "memory.max"].map(ownerOf),
    [1234, 1234, 1234, 0],
  );
  return undefined;
});

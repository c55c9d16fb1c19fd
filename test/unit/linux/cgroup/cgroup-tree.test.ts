import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createCgroup } from "../../../../src/linux/cgroup/cgroup-tree.ts";
import type { CgroupLayout } from "../../../../src/linux/cgroup/layout.ts";

test("`createCgroup()` writes to no file of cpuset in a unified hierarchy that has it", (t) => {
  const root = mkdtempSync(join(tmpdir(), "cricket-unified-"));
  t.after(() => rmSync(root, { recursive: true }));
  // "hybrid": controllers are not switched on for the children. Directories without the kernel's files show each write.
  const layout: CgroupLayout = {
    kind: "hybrid",
    v1: [],
    unified: { version: 2, root, controllers: ["cpu", "cpuset", "memory"] },
  };
  createCgroup(layout, "/cricket/pod/container");
  assert.deepEqual(readdirSync(join(root, "cricket/pod")), ["container"]);
  assert.deepEqual(readdirSync(join(root, "cricket/pod/container")), []);
});

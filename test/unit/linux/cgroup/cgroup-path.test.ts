import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  checkCgroupPath,
  memberPath,
  parentOf,
  scopeFormOf,
} from "../../../../src/linux/cgroup/cgroup-path.ts";

test("`checkCgroupPath()` accepts kubelet's paths and drops a slash at the end", () => {
  assert.equal(checkCgroupPath("/kubepods/burstable/pod1-2/"), "/kubepods/burstable/pod1-2");
  assert.equal(checkCgroupPath("/a"), "/a");
});

test("`checkCgroupPath()` refuses what leaves the hierarchy or forges a line", () => {
  for (const path of [
    "",
    "/",
    "//",
    "a",
    "/..",
    "/a/../b",
    "/a/.",
    "/a//b",
    "/a\nb",
    "/a\0b",
    `/${"x".repeat(256)}`,
  ])
    assert.throws(() => checkCgroupPath(path), { code: "invalid-argument" }, JSON.stringify(path));
});

test("`checkCgroupPath()` never lets a path through that has a part `..`", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom("..", ".", "", "a", "b..", "..c")), (parts) => {
      const path = `/${parts.join("/")}`;
      let checked: string;
      try {
        checked = checkCgroupPath(path);
      } catch {
        return;
      }
      assert.ok(
        checked
          .slice(1)
          .split("/")
          .every((part) => !["", ".", ".."].includes(part)),
      );
    }),
  );
});

test("`memberPath()` names a container's cgroup, in a slice a scope", () => {
  assert.equal(memberPath("/kubepods/pod1", "ab"), "/kubepods/pod1/cricket-ab");
  assert.equal(memberPath("/a.slice/a-b.slice", "ab"), "/a.slice/a-b.slice/cricket-ab.scope");
  assert.equal(scopeFormOf("/a.slice/a-b.slice/cricket-ab.scope"), "a-b.slice:cricket:ab");
});

test("`parentOf()` ends at the root", () => {
  assert.equal(parentOf("/a/b"), "/a");
  assert.equal(parentOf("/a"), "");
});

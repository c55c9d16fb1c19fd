// The guest itself: the other tests that run in it rely on this machine.
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";

const inGuest = process.env["CRICKET_GUEST"] === "1" ? {} : { skip: "needs the user-mode-linux guest" };

test("the guest has cgroup v2 alone, with its controllers delegated", inGuest, () => {
  const mounts = fs.readFileSync("/proc/self/mountinfo", "utf8");
  assert.doesNotMatch(mounts, / - cgroup /);
  const delegated = fs.readFileSync("/sys/fs/cgroup/cgroup.subtree_control", "utf8").trim().split(" ");
  assert.deepEqual(delegated.toSorted(), ["cpu", "io", "memory", "pids"]);
});

test("the guest has overlay, bridges and a filesystem with extended attributes", inGuest, () => {
  assert.match(fs.readFileSync("/proc/filesystems", "utf8"), /\toverlay$/m);
  assert.ok(fs.existsSync("/sys/module/bridge"));
  assert.match(fs.readFileSync("/proc/self/mountinfo", "utf8"), / \/var\/lib .* - ext4 /);
});

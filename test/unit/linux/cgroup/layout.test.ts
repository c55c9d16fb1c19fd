import assert from "node:assert/strict";
import { test } from "node:test";
import {
  allRoots,
  detectCgroupLayout,
  hierarchyOf,
  trackingHierarchy,
  words,
} from "../../../../src/linux/cgroup/layout.ts";
import { parseMountinfo } from "../../../../src/linux/mountinfo.ts";

const v1 = (name: string, options = name): string =>
  `1 0 0:1 / /sys/fs/cgroup/${name} rw - cgroup cgroup rw,${options}\n`;
const v2 = (directory: string): string => `1 0 0:1 / ${directory} rw - cgroup2 cgroup2 rw\n`;

const detect = (mountinfo: string, controllers = "") =>
  detectCgroupLayout(parseMountinfo(mountinfo), (file) =>
    file.endsWith("/cgroup.controllers") ? `${controllers}\n` : undefined,
  );

test("`detectCgroupLayout()` knows cgroup v2 alone", () => {
  const layout = detect(v2("/sys/fs/cgroup"), "cpu memory pids");
  assert.equal(layout.kind, "v2");
  assert.deepEqual(hierarchyOf(layout, "memory"), {
    version: 2,
    root: "/sys/fs/cgroup",
    controllers: ["cpu", "memory", "pids"],
  });
  assert.equal(hierarchyOf(layout, "hugetlb"), undefined);
});

test("`detectCgroupLayout()` knows cgroup v1 with co-mounted and named hierarchies", () => {
  const layout = detect(
    v1("cpu,cpuacct") +
      v1("memory") +
      v1("systemd", "xattr,name=systemd") +
      v1("elogind", "none,name=elogind"),
  );
  assert.equal(layout.kind, "v1");
  assert.deepEqual(
    layout.v1.map(({ controllers }) => controllers),
    [["cpu", "cpuacct"], ["memory"]],
  );
  assert.deepEqual(layout.named, ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/elogind"]);
  assert.equal(allRoots(layout).length, 4);
  assert.equal(hierarchyOf(layout, "cpuacct")?.root, "/sys/fs/cgroup/cpu,cpuacct");
});

test("`detectCgroupLayout()` knows a hybrid machine and tracks processes in its v2 part", () => {
  const layout = detect(v1("memory") + v1("pids") + v2("/sys/fs/cgroup/unified"), "hugetlb");
  assert.equal(layout.kind, "hybrid");
  assert.equal(hierarchyOf(layout, "memory")?.version, 1);
  assert.equal(hierarchyOf(layout, "hugetlb")?.version, 2);
  assert.equal(trackingHierarchy(layout).root, "/sys/fs/cgroup/unified");
});

test("`detectCgroupLayout()` takes the first of two mounts of one hierarchy", () => {
  const again = "9 0 0:1 /docker/x /mnt/memory rw - cgroup cgroup rw,memory\n";
  assert.equal(hierarchyOf(detect(v1("memory") + again), "memory")?.root, "/sys/fs/cgroup/memory");
});

test("`detectCgroupLayout()` without any hierarchy says so", () => {
  assert.throws(() => detect(""), { code: "failed-precondition" });
});

test("`words()` splits on any blanks", () => {
  assert.deepEqual(words(" a b\nc\n"), ["a", "b", "c"]);
  assert.deepEqual(words(undefined), []);
});

// What a test needs of the machine. A need that is not met is an explicit skip with the reason, which the test
// runner counts and prints; a missing Debian package is a failure where everything can be installed (CI).

import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { blockDevice } from "./block-device.ts";

interface DebianPackage {
  name: string;
  for: string;
  files: string[];
}

const packages = JSON.parse(
  fs.readFileSync(path.join(import.meta.dirname, "../../scripts/debian-packages.json"), "utf8"),
) as DebianPackage[];

/** Names of what can be asked for beside Debian packages (`package:nftables`). */
export type Feature =
  | "root"
  | "block-device"
  | "cgroup-v1"
  | "cgroup-v2"
  | "overlay"
  | "user-namespaces"
  | "cgroup-kill"
  | "apparmor"
  | "selinux";

export type Need = Feature | `package:${string}`;

const features: Record<Feature, { isMet: () => boolean; reason: string }> = {
  root: { isMet: () => process.getuid?.() === 0, reason: "needs root" },
  "block-device": {
    isMet: () => blockDevice() !== undefined,
    reason: "needs a block device with a node in /dev",
  },
  "cgroup-v1": {
    isMet: () => fs.existsSync("/sys/fs/cgroup/memory/tasks"),
    reason: "needs the cgroup v1 memory controller at /sys/fs/cgroup/memory",
  },
  "cgroup-v2": {
    isMet: () => fs.existsSync("/sys/fs/cgroup/cgroup.controllers"),
    reason: "needs cgroup v2 at /sys/fs/cgroup",
  },
  "cgroup-kill": {
    isMet: () => cgroupV2Roots().length > 0 && hasCgroupKill(),
    reason: "needs cgroup.kill (Linux 5.14)",
  },
  apparmor: {
    isMet: () => readOr("/sys/module/apparmor/parameters/enabled", "N").startsWith("Y"),
    reason: "needs a kernel that confines by AppArmor",
  },
  selinux: {
    isMet: () => fs.existsSync("/sys/fs/selinux/load"),
    reason: "needs a kernel with SELinux",
  },
  overlay: {
    isMet: () => /\toverlay$/m.test(fs.readFileSync("/proc/filesystems", "utf8")),
    reason: "needs the overlay filesystem",
  },
  "user-namespaces": {
    isMet: () => Number(readOr("/proc/sys/user/max_user_namespaces", "0")) > 0,
    reason: "needs user namespaces",
  },
};

function readOr(file: string, fallback: string): string {
  return fs.existsSync(file) ? fs.readFileSync(file, "utf8") : fallback;
}

function cgroupV2Roots(): string[] {
  return ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].filter((root) =>
    fs.existsSync(path.join(root, "cgroup.procs")),
  );
}

// Not by the file: a root cgroup has none, and it may be the only one there.
function hasCgroupKill(): boolean {
  const [major = 0, minor = 0] = os
    .release()
    .split(".")
    .map((part) => Number.parseInt(part, 10));
  return major > 5 || (major === 5 && minor >= 14);
}

function unmet(need: Need): string | undefined {
  if (!need.startsWith("package:")) {
    const feature = features[need as Feature];
    return feature.isMet() ? undefined : feature.reason;
  }
  const name = need.slice("package:".length);
  const found = packages.find((entry) => entry.name === name);
  if (found === undefined) throw new Error(`${name} is not in scripts/debian-packages.json`);
  return found.files.some((file) => fs.existsSync(file)) ? undefined : `needs the package ${name}`;
}

/**
 * Test options that skip the test, with the reason, unless every need is met:
 * `test("...", requires("root", "package:nftables"), async () => {...})`.
 */
export function requires(...needs: Need[]): { skip?: string } {
  for (const need of needs) {
    const reason = unmet(need);
    if (reason !== undefined) return { skip: reason };
  }
  return {};
}

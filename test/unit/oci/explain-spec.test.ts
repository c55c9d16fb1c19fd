// Golden programs: what `cricket explain` prints for bundles. assert-golden.ts says how to change them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { hasLibseccomp } from "../../../src/linux/seccomp.ts";
import { explainSpec } from "../../../src/oci/explain.ts";
import { defaultSpec } from "../../../src/oci/runtime/default-spec.ts";
import type { Linux, Namespace } from "../../../src/oci/linux-spec.ts";
import type { Process, Spec } from "../../../src/oci/spec.ts";
import { assertGolden } from "./assert-golden.ts";

const minimal: Spec = {
  ociVersion: "1.2.0",
  root: { path: "rootfs" },
  process: { cwd: "/", args: ["true"], user: { uid: 0, gid: 0 } },
  linux: { namespaces: [{ type: "mount" }] },
};

const withLinux = (changes: Partial<Linux>): Spec => ({
  ...minimal,
  linux: { ...minimal.linux, ...changes },
});
const withProcess = (changes: Partial<Process>): Spec => ({
  ...minimal,
  process: { ...(minimal.process as Process), ...changes },
});
const namespaces = (...list: Namespace[]): Namespace[] => [{ type: "mount" }, ...list];
const ids = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
const hook = (name: string): { path: string; args: string[]; timeout: number } => ({
  path: `/hooks/${name}`,
  args: [name],
  timeout: 5,
});

const bundles: Record<string, Spec> = {
  "minimal bundle": minimal,
  "bundle of the spec verb": defaultSpec(),
  "rootless bundle of the spec verb": defaultSpec({ uid: 1000, gid: 1000 }),
  "bundle with hooks": {
    ...minimal,
    hooks: {
      prestart: [hook("prestart")],
      createRuntime: [hook("create-runtime")],
      createContainer: [hook("create-container")],
      startContainer: [hook("start-container")],
      poststart: [hook("poststart")],
      poststop: [hook("poststop")],
    },
  },
  "bundle that joins namespaces": withLinux({
    namespaces: namespaces(
      { type: "pid", path: "/proc/7/ns/pid" },
      { type: "network", path: "/run/netns/blue" },
      { type: "ipc", path: "/proc/7/ns/ipc" },
      { type: "uts" },
    ),
  }),
  "bundle that joins a user namespace": withLinux({
    namespaces: namespaces({ type: "user", path: "/proc/7/ns/user" }, { type: "pid" }, { type: "ipc" }),
  }),
  "bundle that joins a mount namespace": withLinux({
    namespaces: [{ type: "mount", path: "/proc/7/ns/mnt" }],
  }),
  "bundle with a user namespace beside a joined network": withLinux({
    namespaces: namespaces({ type: "user" }, { type: "network", path: "/run/netns/blue" }),
    uidMappings: ids,
    gidMappings: ids,
  }),
  "bundle with another time": withLinux({
    namespaces: namespaces({ type: "time" }),
    timeOffsets: { monotonic: { secs: 86_400n }, boottime: { secs: -5n, nanosecs: 7 } },
  }),
  "bundle with devices and a shared root": withLinux({
    devices: [
      { type: "c", path: "/dev/fuse", major: 10, minor: 229, fileMode: 0o666, uid: 1, gid: 2 },
      { type: "b", path: "/dev/disk", major: 8, minor: 0 },
      { type: "p", path: "/dev/fifo" },
    ],
    rootfsPropagation: "shared",
  }),
  "bundle with network devices and a memory policy": withLinux({
    namespaces: namespaces({ type: "network" }),
    netDevices: { eth1: { name: "fast0" } },
    memoryPolicy: { mode: "MPOL_INTERLEAVE", nodes: "0-1", flags: ["MPOL_F_STATIC_NODES"] },
  }),
  "bundle in a class of caches that is counted apart": withLinux({
    intelRdt: { closID: "gold", enableMonitoring: true },
  }),
  "bundle of another user in a directory of its own": withProcess({
    cwd: "/home/app",
    user: { uid: 1000, gid: 1000, umask: 0o77, additionalGids: [5, 6] },
  }),
};

for (const [name, spec] of Object.entries(bundles))
  test(`\`explainSpec()\` explains a ${name}`, () => assertGolden(name, explainSpec(spec)));

// Filters differ from library to library in their length.
const withoutLength = (text: string): string => text.replace(/\d+ instructions/g, "N instructions");

const filters: Record<string, Partial<Process>> = {
  "bundle with a filter that comes last": { noNewPrivileges: true },
  "bundle with a filter that comes before privileges go": {},
};
const skip = hasLibseccomp() ? {} : { skip: "needs libseccomp.so.2" };
for (const [name, process] of Object.entries(filters))
  test(`\`explainSpec()\` explains a ${name}`, skip, () => {
    const spec = withProcess(process);
    const seccomp = { defaultAction: "SCMP_ACT_ERRNO" as const, syscalls: [] };
    assertGolden(name, withoutLength(explainSpec({ ...spec, linux: { ...spec.linux, seccomp } })));
  });

test("`explainSpec()` explains a bundle whose filter notifies", skip, () => {
  const spec = withProcess({ noNewPrivileges: true });
  const seccomp = { defaultAction: "SCMP_ACT_NOTIFY" as const, listenerPath: "/run/agent.sock" };
  const text = explainSpec({ ...spec, linux: { ...spec.linux, seccomp } });
  assertGolden("bundle whose filter notifies", withoutLength(text));
});

test("`explainSpec()` explains a config.json with everything in it, with words for descriptors", () => {
  const ids = [{ containerID: 0, hostID: 100000, size: 65536 }];
  const spec: Spec = {
    ociVersion: "1.2.0",
    root: { path: "/bundles/b1/rootfs", readonly: true },
    hostname: "box",
    domainname: "example.org",
    mounts: [
      { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
      { destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["ro", "noatime", "size=1m"] },
      { destination: "/data", source: "/srv", options: ["rbind", "rslave", "ro"] },
    ],
    process: {
      terminal: true,
      consoleSize: { height: 24, width: 80 },
      cwd: "/work",
      args: ["sh", "-c", "echo 'a b'"],
      env: ["PATH=/bin", "SECRET=hidden"],
      user: { uid: 1, gid: 2, umask: 0o77, additionalGids: [3] },
      rlimits: [{ type: "RLIMIT_NOFILE", soft: 1024n, hard: 2n ** 64n - 1n }],
      capabilities: { bounding: ["CAP_KILL"], permitted: ["CAP_KILL"], effective: [] },
      apparmorProfile: "strict",
      selinuxLabel: "system_u:system_r:container_t:s0",
      oomScoreAdj: 100,
      scheduler: { policy: "SCHED_BATCH", nice: 5 },
      ioPriority: { class: "IOPRIO_CLASS_IDLE", priority: 0 },
    },
    linux: {
      namespaces: [{ type: "mount" }, { type: "pid" }, { type: "uts" }, { type: "user" }, { type: "ipc" }],
      uidMappings: ids,
      gidMappings: ids,
      cgroupsPath: "/boxes/b1",
      sysctl: { "kernel.shmmax": "65536" },
      rootfsPropagation: "rslave",
      personality: { domain: "LINUX32" },
      maskedPaths: ["/proc/kcore"],
      readonlyPaths: ["/proc/sys"],
    },
  };
  const text = explainSpec(spec);
  assertGolden("config", text);
  assert.ok(!text.includes("hidden"));
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { compileContainer } from "../../../src/oci/compile-container.ts";
import type { ContainerLaunch } from "../../../src/oci/container-launch.ts";
import type { Linux } from "../../../src/oci/linux-spec.ts";
import type { Process, Spec } from "../../../src/oci/spec.ts";
import { isInOrder, launch, ops, process, spec, stepsOf } from "./launch-fixtures.ts";

const compile = (changes: Partial<Spec>, linux: Partial<Linux> = {}, more: Partial<ContainerLaunch> = {}) =>
  compileContainer(launch({ spec: spec(changes, linux), ...more }));
const compileWith = (changes: Partial<Process>, more: Partial<ContainerLaunch> = {}) =>
  compile({ process: process(changes) }, {}, more);
const filter = { program: new Uint8Array(8), flags: 4, listener: false };
const withSeccomp: Partial<Linux> = { seccomp: { defaultAction: "SCMP_ACT_ALLOW" } };

test("`compileContainer()` makes new namespaces in the fork, already in the cgroup", () => {
  const [fork] = stepsOf(compile({}), "fork");
  assert.deepEqual(fork, {
    op: "fork",
    flags: 0x00020000 | 0x20000000 | 0x08000000 | 0x04000000 | 0x40000000,
    cgroup: 22,
  });
});

test("`compileContainer()` enters a pid namespace in the parent, before the fork", () => {
  const namespaces: Linux["namespaces"] = [
    { type: "mount" },
    { type: "pid", path: "/proc/1/ns/pid" },
    { type: "network", path: "/proc/1/ns/net" },
  ];
  const program = compile({}, { namespaces }, { join: [{ fd: 5, types: ["pid", "network"] }] });
  assert.deepEqual(stepsOf(program, "joinNamespaces"), [
    { op: "joinNamespaces", fd: 5, mask: 0x20000000 },
    { op: "joinNamespaces", fd: 5, mask: 0x40000000 },
  ]);
  assert.ok(isInOrder(program, "joinNamespaces", "fork", "joinCgroup", "joinNamespaces", "setPropagation"));
});

test("`compileContainer()` makes the cgroup namespace when the process is in its cgroup", () => {
  const program = compile({}, { namespaces: [{ type: "mount" }, { type: "cgroup" }] });
  assert.ok(isInOrder(program, "fork", "joinCgroup", "unshare", "attachRootfs"));
  assert.deepEqual(stepsOf(program, "unshare"), [{ op: "unshare", flags: 0x02000000 }]);
});

test("`compileContainer()` makes time namespaces in the parent and sets the offsets there", () => {
  const program = compile(
    {},
    {
      namespaces: [{ type: "mount" }, { type: "time" }],
      timeOffsets: { monotonic: { secs: -5n, nanosecs: 7 }, boottime: { secs: 2n ** 40n } },
    },
  );
  assert.ok(isInOrder(program, "unshare", "writeProc", "fork"));
  const [write] = stepsOf(program, "writeProc");
  assert.deepEqual(write, {
    op: "writeProc",
    path: "/proc/self/timens_offsets",
    value: "monotonic -5 7\nboottime 1099511627776 0\n",
  });
});

const mappings = { containerID: 0, hostID: 100000, size: 65536 };

test("`compileContainer()` maps ids at the fork and binds devices in a new user namespace", () => {
  const program = compile(
    {},
    {
      namespaces: [{ type: "mount" }, { type: "user" }],
      uidMappings: [mappings],
      gidMappings: [mappings, { containerID: 70000, hostID: 5, size: 1 }],
    },
  );
  assert.ok(isInOrder(program, "hostDirectory", "fork", "attachRootfs"));
  const fork = program.steps.find((step) => step.op === "fork");
  assert.ok(fork?.op === "fork");
  assert.deepEqual(fork.idMaps, { uidMap: "0 100000 65536\n", gidMap: "0 100000 65536\n70000 5 1\n" });
  assert.deepEqual(stepsOf(program, "mknodInRoot"), []);
  assert.ok(
    program.steps.some(
      (step) => step.op === "mountTree" && "hostPath" in step.source && step.source.hostPath === "/dev/null",
    ),
  );
});

test("`compileContainer()` makes everything after entering a user namespace that exists", () => {
  const namespaces: Linux["namespaces"] = [
    { type: "user", path: "/proc/1/ns/user" },
    { type: "mount" },
    { type: "pid" },
    { type: "ipc", path: "/proc/1/ns/ipc" },
  ];
  const program = compile({}, { namespaces }, { join: [{ fd: 5, types: ["user", "ipc"] }] });
  assert.ok(
    isInOrder(program, "fork", "joinNamespaces", "unshare", "setGroups", "setIds", "fork", "newSession"),
  );
  const forks = program.steps.filter((step) => step.op === "fork");
  assert.deepEqual(
    forks.map(({ flags }) => flags),
    [0, 0x20000000],
  );
});

// The host's privileges and its /proc are still there: raising limits, sysctls and scores is possible, and nothing
// that an image has prepared is in the way (CVE-2019-16884, CVE-2025-52881).
test("CVE-2025-52881: `compileContainer()` writes to /proc before anything of the container is mounted", () => {
  const program = compile(
    {
      process: process({
        oomScoreAdj: 5,
        rlimits: [{ type: "RLIMIT_NOFILE", soft: 10n, hard: 20n }],
      }),
    },
    { sysctl: { "net.ipv4.ip_forward": "1" } },
  );
  const last = program.steps.findLastIndex(({ op }) => op === "writeProc" || op === "rlimit");
  assert.ok(last < program.steps.findIndex(({ op }) => op === "setPropagation"));
  assert.deepEqual(
    stepsOf(program, "writeProc").map((step) => ("path" in step ? step.path : "")),
    ["/proc/self/oom_score_adj", "/proc/sys/net/ipv4/ip_forward"],
  );
});

test("`compileContainer()` goes on without limits that a nested runtime may not raise", () => {
  const program = compileWith({ oomScoreAdj: -5, rlimits: [{ type: "RLIMIT_NOFILE", soft: 1n, hard: 2n }] });
  assert.ok(
    program.steps.filter(({ op }) => op === "rlimit" || op === "writeProc").every(({ optional }) => optional),
  );
});

// CVE-2021-30465, CVE-2024-45310: every path in the container is resolved by the kernel below the rootfs.
test("CVE-2021-30465: `compileContainer()` attaches the rootfs before it touches any path in it", () => {
  const program = compile(
    { mounts: [{ destination: "/data", type: "bind", source: "/srv", options: ["bind"] }] },
    { maskedPaths: ["/proc/kcore"], readonlyPaths: ["/proc/sys"] },
  );
  const attach = ops(program).indexOf("attachRootfs");
  const inRoot = [
    "mountTree",
    "mountFs",
    "mknodInRoot",
    "symlinkInRoot",
    "mkdirInRoot",
    "maskPath",
    "readonlyPath",
  ];
  for (const [index, op] of ops(program).entries()) if (inRoot.includes(op)) assert.ok(index > attach, op);
});

test("`compileContainer()` hides paths after the mounts they lie in, read-only ones first", () => {
  const program = compile(
    { mounts: [{ destination: "/proc", type: "proc", source: "proc" }] },
    { maskedPaths: ["/proc/kcore"], readonlyPaths: ["/proc/sys"] },
  );
  assert.ok(isInOrder(program, "mountFs", "readonlyPath", "maskPath", "pivotRoot"));
});

test("`compileContainer()` makes the working directory before the rootfs becomes read-only", () => {
  const program = compile({ root: { path: "rootfs", readonly: true }, process: process({ cwd: "/srv" }) });
  assert.ok(isInOrder(program, "mkdirInRoot", "setMountAttributes", "pivotRoot", "chdir"));
  assert.deepEqual(stepsOf(program, "chdir"), [
    { op: "chdir", path: "/srv", create: false, attempt: "first" },
  ]);
});

// Root may be nobody on the file system of the directory.
test("`compileContainer()` lets the user try the working directory again once it is the user", () => {
  const program = compileWith({ cwd: "/srv", user: { uid: 7, gid: 7 } });
  assert.ok(isInOrder(program, "chdir", "setIds", "chdir", "capabilities"));
});

// Nobody is there to hand the notify descriptor on once the container is created.
test("`compileContainer()` sets a filter that notifies before the gate, any other behind it", () => {
  const notifying = { program: new Uint8Array(8), flags: 0, listener: true };
  const confined = spec(
    { process: process({ noNewPrivileges: true }) },
    { seccomp: { defaultAction: "SCMP_ACT_ALLOW" } },
  );
  const early = compileContainer(launch({ spec: confined, seccomp: notifying }));
  assert.ok(isInOrder(early, "capabilities", "seccomp", "waitGate", "exec"));
  const late = compileContainer(launch({ spec: confined, seccomp: { ...notifying, listener: false } }));
  assert.ok(isInOrder(late, "waitGate", "seccomp", "exec"));
});

test("`compileContainer()` sets the memory policy with the bits of mode, flags and nodes", () => {
  const program = compile(
    {},
    { memoryPolicy: { mode: "MPOL_BIND", nodes: "0,9", flags: ["MPOL_F_STATIC_NODES"] } },
  );
  const [step] = stepsOf(program, "memoryPolicy");
  assert.deepEqual(step, {
    op: "memoryPolicy",
    mode: 2 | 0x8000,
    nodes: Uint8Array.of(1, 2, 0, 0, 0, 0, 0, 0),
  });
});

// In the parent, while it has the right to; the fork makes the rest.
test("`compileContainer()` joins other namespaces before it makes a user namespace", () => {
  const namespaces = [
    { type: "mount" as const },
    { type: "user" as const },
    { type: "network" as const, path: "/n" },
  ];
  const ids = [{ containerID: 0, hostID: 1, size: 1 }];
  const joined = spec({}, { namespaces, uidMappings: ids, gidMappings: ids });
  const program = compileContainer(launch({ spec: joined, join: [{ fd: 30, types: ["network"] }] }));
  assert.deepEqual(ops(program).slice(0, 3), ["joinNamespaces", "hostDirectory", "fork"]);
});

// The root of a new user namespace has no right to them; a monitor would have to live with them.
test("`compileContainer()` sets limits before a fork that makes a user namespace, unless a monitor stays", () => {
  const ids = [{ containerID: 0, hostID: 1, size: 1 }];
  const namespaces = [{ type: "mount" as const }, { type: "user" as const }];
  const given = spec(
    { process: process({ oomScoreAdj: 5 }) },
    { namespaces, uidMappings: ids, gidMappings: ids },
  );
  const detached = compileContainer(launch({ spec: given, withoutMonitor: true }));
  assert.ok(isInOrder(detached, "writeProc", "fork"));
  assert.ok(isInOrder(compileContainer(launch({ spec: given })), "fork", "writeProc"));
});

test("`compileContainer()` leaves the root of a joined mount namespace alone", () => {
  const namespaces = [{ type: "mount" as const, path: "/m" }];
  const joined = spec({}, { namespaces });
  const program = compileContainer(launch({ spec: joined, join: [{ fd: 30, types: ["mount"] }] }));
  assert.ok(isInOrder(program, "fork", "joinNamespaces", "attachRootfs", "changeRoot"));
  assert.ok(!ops(program).includes("pivotRoot"));
});

test("`compileContainer()` covers the root where it cannot be left", () => {
  const program = compileContainer(launch({ spec: spec({}, {}), noPivot: true }));
  assert.ok(isInOrder(program, "attachRootfs", "moveRoot", "exec"));
  assert.ok(!ops(program).includes("pivotRoot"));
});

test("`compileContainer()` waits for its network devices, with a socket of its network namespace", () => {
  const program = compileContainer(
    launch({ spec: spec({}, { netDevices: { eth9: {} } }), withoutMonitor: true }),
  );
  assert.ok(isInOrder(program, "fork", "sendSocket", "sync", "pivotRoot"));
});

// CVE-2024-21626: the directory is entered after pivotRoot, and C checks that it is inside.
test("CVE-2024-21626: `compileContainer()` changes directory only inside the new root", () => {
  const program = compileWith({ cwd: "/proc/self/fd/7" });
  assert.ok(isInOrder(program, "pivotRoot", "chdir", "exec"));
});

test("`compileContainer()` gives up privileges in the order that works", () => {
  const program = compileWith(
    { user: { uid: 1, gid: 2, additionalGids: [2, 3] }, apparmorProfile: "p", selinuxLabel: "l" },
    { parentDeathSignal: 9 },
  );
  assert.ok(
    isInOrder(
      program,
      "pivotRoot",
      "umask",
      "apparmorExec",
      "selinuxExec",
      "setGroups",
      "setIds",
      "capabilities",
      "parentDeathSignal",
      "waitGate",
      "exec",
    ),
  );
});

test("`compileContainer()` installs seccomp before privileges go where noNewPrivileges is not set", () => {
  const program = compile({}, withSeccomp, { seccomp: filter });
  assert.ok(isInOrder(program, "seccomp", "setGroups", "setIds", "capabilities", "waitGate", "exec"));
  assert.deepEqual(ops(program).includes("noNewPrivs"), false);
});

test("`compileContainer()` installs seccomp last where noNewPrivileges is set", () => {
  const program = compile({ process: process({ noNewPrivileges: true }) }, withSeccomp, { seccomp: filter });
  assert.ok(isInOrder(program, "noNewPrivs", "capabilities", "waitGate", "seccomp", "exec"));
  assert.deepEqual(ops(program).slice(-2), ["seccomp", "exec"]);
});

test("`compileContainer()` never starts a container whose seccomp profile was forgotten", () => {
  assert.throws(() => compile({}, withSeccomp), { code: "internal" });
  assert.throws(() => compile({}, {}, { seccomp: filter }), { code: "internal" });
});

// CVE-2022-29162
test("CVE-2022-29162: `compileContainer()` gives no capability that the spec does not name", () => {
  const [step] = stepsOf(compile({}), "capabilities");
  const none = { bounding: 0n, effective: 0n, permitted: 0n, inheritable: 0n, ambient: 0n };
  assert.deepEqual(step, { op: "capabilities", masks: none });
});

test("`compileContainer()` leaves capabilities out that the runtime lacks, and ambient ones that cannot be", () => {
  const names = ["CAP_CHOWN", "CAP_SYS_RESOURCE"];
  const capabilities = {
    bounding: names,
    permitted: names,
    effective: names,
    ambient: names,
    inheritable: [],
  };
  const [step] = stepsOf(compileWith({ capabilities }, { boundingCapabilities: 1n }), "capabilities");
  assert.deepEqual(step, {
    op: "capabilities",
    masks: { bounding: 1n, effective: 1n, permitted: 1n, inheritable: 0n, ambient: 0n },
  });
});

test("`compileContainer()` opens a terminal after the container's devpts was mounted", () => {
  const program = compile({
    process: process({ terminal: true, consoleSize: { height: 24, width: 80 } }),
    mounts: [{ destination: "/dev/pts", type: "devpts" }],
  });
  assert.ok(isInOrder(program, "mountFs", "openPty", "pivotRoot"));
  assert.deepEqual(stepsOf(program, "openPty"), [
    { op: "openPty", rows: 24, columns: 80, bindConsole: true },
  ]);
});

test("`compileContainer()` sets scheduling while the privilege for it is there", () => {
  const program = compileWith({
    scheduler: {
      policy: "SCHED_DEADLINE",
      flags: ["SCHED_FLAG_RESET_ON_FORK"],
      runtime: 5000n,
      deadline: 9000n,
      period: 10000n,
    },
    ioPriority: { class: "IOPRIO_CLASS_BE", priority: 3 },
  });
  assert.ok(isInOrder(program, "scheduler", "ioPriority", "setIds"));
  assert.deepEqual(stepsOf(program, "ioPriority"), [{ op: "ioPriority", value: (2 << 13) | 3 }]);
});

test("`compileContainer()` gives every step a reason", () => {
  const program = compile({}, withSeccomp, { seccomp: filter, parentDeathSignal: 9 });
  assert.deepEqual(
    program.steps.filter(({ because }) => because === undefined),
    [],
  );
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { compileSandbox, type SandboxLaunch } from "../../../src/oci/compile-sandbox.ts";
import { isInOrder, ops, stepsOf } from "./launch-fixtures.ts";

function compile(changes: Partial<SandboxLaunch> = {}) {
  return compileSandbox({
    namespaces: { network: true, ipc: true, pid: false, uts: true },
    hostname: "pod-a",
    sysctls: [{ path: "/proc/sys/net/ipv4/ping_group_range", value: "0 2147483647" }],
    cgroup: { files: [20], directory: 21 },
    pause: 9,
    ...changes,
  });
}

test("`compileSandbox()` makes a process that holds the pod's namespaces and can do nothing", () => {
  assert.deepEqual(ops(compile()), [
    "fork",
    "joinCgroup",
    "newSession",
    "writeProc",
    "sethostname",
    "writeProc",
    "sendSocket",
    "noNewPrivs",
    "setGroups",
    "setIds",
    "capabilities",
    "execFd",
  ]);
  assert.deepEqual(stepsOf(compile(), "fork"), [
    { op: "fork", flags: 0x40000000 | 0x08000000 | 0x04000000, cgroup: 21 },
  ]);
  assert.deepEqual(stepsOf(compile(), "setIds"), [{ op: "setIds", uid: 65535, gid: 65535 }]);
});

test("`compileSandbox()` leaves the host's namespaces alone", () => {
  const program = compile({
    namespaces: { network: false, ipc: false, pid: false, uts: false },
    sysctls: [],
  });
  assert.ok(!ops(program).some((op) => op === "sethostname" || op === "sendSocket"));
  assert.deepEqual(stepsOf(program, "fork"), [{ op: "fork", flags: 0, cgroup: 21 }]);
});

// Containers see pause as process 1: /proc/1/root must not be the host's root.
test("`compileSandbox()` gives pause an empty root where containers can see it", () => {
  const namespaces = { network: true, ipc: true, pid: true, uts: true };
  assert.throws(() => compile({ namespaces }), { code: "internal" });
  const program = compile({ namespaces, rootfs: { mount: 10, target: "/run/s1" } });
  assert.ok(isInOrder(program, "fork", "setPropagation", "attachRootfs", "pivotRoot", "setIds", "execFd"));
  const [fork] = program.steps;
  assert.ok(fork?.op === "fork" && (fork.flags & 0x00020000) !== 0 && (fork.flags & 0x20000000) !== 0);
});

test("`compileSandbox()` goes on where the OOM score may not be lowered", () => {
  const [score] = compile().steps.filter((step) => step.op === "writeProc");
  assert.deepEqual([score?.value, score?.optional], ["-998", true]);
});

test("`compileSandbox()` filters pause with the sandbox's own profile", () => {
  const seccomp = { program: new Uint8Array(8), flags: 4, listener: false };
  assert.deepEqual(ops(compile({ seccomp })).slice(-2), ["seccomp", "execFd"]);
});

test("`compileSandbox()` does as the host's root what a user namespace could not", () => {
  const ids = (size: number) => [{ containerID: 0, hostID: 100_000, size }];
  const namespaces = { network: true, ipc: true, pid: true, uts: true };
  const rootfs = { mount: 10, target: "/run/s1" };
  const program = compile({ namespaces, rootfs, userMaps: { uids: ids(65_536), gids: ids(1000) } });
  assert.deepEqual(ops(program).slice(0, 4), ["writeProc", "hostDirectory", "fork", "joinCgroup"]);
  const fork = program.steps.find((step) => step.op === "fork");
  assert.ok(fork?.op === "fork" && (fork.flags & 0x10000000) !== 0);
  assert.deepEqual(fork.idMaps, { uidMap: "0 100000 65536\n", gidMap: "0 100000 1000\n" });
  assert.deepEqual(stepsOf(program, "attachRootfs"), [{ op: "attachRootfs", mount: 10, target: "." }]);
  // The group that pause has elsewhere is not mapped here.
  assert.deepEqual(stepsOf(program, "setIds"), [{ op: "setIds", uid: 65_535, gid: 0 }]);
});

// Written through the host's /proc, which the pod's own root does not have; judged at execve.
test("`compileSandbox()` labels pause before it has an empty root", () => {
  const namespaces = { network: true, ipc: true, pid: true, uts: true };
  const rootfs = { mount: 10, target: "/run/s1" };
  const processLabel = "system_u:system_r:container_t:s0:c1,c2";
  const program = compile({ namespaces, rootfs, processLabel });
  assert.ok(isInOrder(program, "fork", "selinuxExec", "attachRootfs", "noNewPrivs", "execFd"));
  assert.deepEqual(stepsOf(program, "selinuxExec"), [{ op: "selinuxExec", label: processLabel }]);
  assert.ok(!ops(compile({ processLabel: "" })).includes("selinuxExec"));
});

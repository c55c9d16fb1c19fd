import assert from "node:assert/strict";
import { test } from "node:test";
import { compileExec, type ExecLaunch } from "../../../src/oci/compile-exec.ts";
import { isInOrder, ops, process, spec, stepsOf } from "./launch-fixtures.ts";

function compile(changes: Partial<ExecLaunch> = {}) {
  return compileExec({
    id: "c1",
    spec: spec({ process: process({ cwd: "/srv", user: { uid: 7, gid: 8, additionalGids: [8] } }) }),
    env: [],
    initPidfd: 5,
    command: ["id"],
    cgroup: { files: [20], directory: 21 },
    ...changes,
  });
}

test("`compileExec()` enters the container with a few steps and mounts nothing", () => {
  assert.deepEqual(ops(compile()), [
    "joinNamespaces",
    "fork",
    "joinCgroup",
    "newSession",
    "joinNamespaces",
    "newKeyring",
    "umask",
    "chdir",
    "setGroups",
    "setIds",
    "chdir",
    "capabilities",
    "parentDeathSignal",
    "exec",
  ]);
});

test("`compileExec()` takes the container's root where the mount namespace has another", () => {
  assert.ok(isInOrder(compile({ root: 40 }), "joinNamespaces", "joinNamespaces", "changeRoot", "chdir"));
});

test("`compileExec()` joins the pid namespace in the parent and the rest by one call in the child", () => {
  assert.deepEqual(stepsOf(compile(), "joinNamespaces"), [
    { op: "joinNamespaces", fd: 5, mask: 0x20000000 },
    { op: "joinNamespaces", fd: 5, mask: 0x00020000 | 0x08000000 | 0x04000000 | 0x40000000 },
  ]);
});

test("`compileExec()` joins no pid namespace where the container has the host's", () => {
  const program = compile({ spec: spec({}, { namespaces: [{ type: "mount" }] }) });
  assert.deepEqual(stepsOf(program, "joinNamespaces"), [{ op: "joinNamespaces", fd: 5, mask: 0x00020000 }]);
});

test("`compileExec()` enters the container's session keyring, labelled as the process, after its user namespace", () => {
  const namespaces = [{ type: "mount" as const }, { type: "user" as const, path: "/proc/9/ns/user" }];
  const labelled = spec({ process: process({ selinuxLabel: "u:r:t:s0" }) }, { namespaces });
  const program = compile({ spec: labelled });
  assert.ok(isInOrder(program, "joinNamespaces", "setIds", "writeProc", "newKeyring", "setIds"));
  assert.deepEqual(stepsOf(program, "newKeyring"), [{ op: "newKeyring", name: "_ses.c1", optional: true }]);
  assert.ok(!ops(compile({ noNewKeyring: true })).includes("newKeyring"));
});

test("`compileExec()` runs the command as the container's user, with its directory", () => {
  const program = compile();
  assert.deepEqual(stepsOf(program, "setIds"), [{ op: "setIds", uid: 7, gid: 8 }]);
  assert.deepEqual(stepsOf(program, "exec"), [{ op: "exec", argv: ["id"], env: [] }]);
});

test("`compileExec()` confines the process as the container is confined", () => {
  const filter = { program: new Uint8Array(8), flags: 4, listener: false };
  const confined = spec(
    { process: process({ noNewPrivileges: true, apparmorProfile: "p" }) },
    { seccomp: { defaultAction: "SCMP_ACT_ALLOW" } },
  );
  assert.ok(
    isInOrder(
      compile({ spec: confined, seccomp: filter }),
      "apparmorExec",
      "noNewPrivs",
      "capabilities",
      "seccomp",
      "exec",
    ),
  );
  assert.throws(() => compile({ spec: confined }), { code: "internal" });
});

test("`compileExec()` opens a terminal inside the container, without taking its console", () => {
  const program = compile({ terminal: { rows: 24, columns: 80 } });
  assert.ok(isInOrder(program, "joinNamespaces", "fork", "joinNamespaces", "openPty", "setIds"));
  assert.deepEqual(stepsOf(program, "openPty"), [
    { op: "openPty", rows: 24, columns: 80, bindConsole: false },
  ]);
});

test("`compileExec()` pins CPUs before and after the cgroup was joined", () => {
  const pinned = spec({ process: process({ execCPUAffinity: { initial: "0-1,9", final: "3" } }) });
  const program = compile({ spec: pinned });
  assert.ok(isInOrder(program, "fork", "cpuAffinity", "joinCgroup", "cpuAffinity", "exec"));
  const masks = program.steps.filter((step) => step.op === "cpuAffinity").map(({ mask }) => [...mask]);
  assert.deepEqual(masks, [
    [3, 2, 0, 0, 0, 0, 0, 0],
    [8, 0, 0, 0, 0, 0, 0, 0],
  ]);
});

for (const list of ["", "x", "3-1", "1,,2", "99999", "-1"])
  if (list !== "")
    test(`\`compileExec()\` refuses the CPU list ${JSON.stringify(list)}`, () => {
      const pinned = spec({ process: process({ execCPUAffinity: { final: list } }) });
      assert.throws(() => compile({ spec: pinned }), {
        code: "invalid-argument",
        message: /^process\.execCPUAffinity\.final/,
      });
    });

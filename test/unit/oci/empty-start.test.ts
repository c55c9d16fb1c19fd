import assert from "node:assert/strict";
import { test } from "node:test";
import { compileContainer } from "../../../src/oci/compile-container.ts";
import { compileSandbox } from "../../../src/oci/compile-sandbox.ts";
import type { ContainerLaunch } from "../../../src/oci/container-launch.ts";
import { explainSpec } from "../../../src/oci/explain.ts";
import type { Linux } from "../../../src/oci/linux-spec.ts";
import type { Mount, Spec } from "../../../src/oci/spec.ts";
import { isInOrder, launch, ops, process, spec, stepsOf } from "./launch-fixtures.ts";

const CLONE_NEWNS = 0x00020000;
const emptyNamespace = 77;

const compile = (changes: Partial<Spec>, linux: Partial<Linux> = {}, more: Partial<ContainerLaunch> = {}) =>
  compileContainer(launch({ spec: spec(changes, linux), emptyNamespace, ...more }));

const bind: Mount = { destination: "/data", type: "bind", source: "/srv", options: ["rbind", "ro"] };
const proc: Mount = { destination: "/proc", type: "proc", source: "proc" };

test("`compileContainer()` enters the empty namespace and copies it, and not the host's", () => {
  const program = compile({ mounts: [proc] });
  const [fork] = program.steps;
  assert.ok(fork?.op === "fork" && (fork.flags & CLONE_NEWNS) === 0);
  assert.ok(
    isInOrder(program, "fork", "joinNamespaces", "unshare", "attachRootfs", "mountFs", "changeRoot", "exec"),
  );
  assert.deepEqual(stepsOf(program, "joinNamespaces"), [
    { op: "joinNamespaces", fd: emptyNamespace, mask: CLONE_NEWNS },
  ]);
  assert.deepEqual(stepsOf(program, "attachRootfs"), [{ op: "attachRootfs", mount: 10, target: "/" }]);
  assert.ok(!ops(program).some((op) => op === "setPropagation" || op === "pivotRoot"));
});

test("`compileContainer()` opens what it binds of the host before it leaves the host's mounts", () => {
  const hierarchies = [{ name: "cpu", path: "/sys/fs/cgroup/cpu/c1", links: [] }];
  const program = compile(
    { mounts: [proc, bind, { destination: "/sys/fs/cgroup", type: "cgroup" }] },
    {},
    {
      cgroupView: { version: 1, hierarchies },
    },
  );
  assert.ok(isInOrder(program, "fork", "openMount", "openMount", "joinNamespaces", "mountTree", "mountTree"));
  const opened = program.steps.filter((step) => step.op === "openMount");
  assert.deepEqual(
    opened.map(({ source, recursive, set }) => [source, recursive, set]),
    [
      [{ hostPath: "/srv" }, true, 1],
      [{ hostPath: "/sys/fs/cgroup/cpu/c1" }, false, 0],
    ],
  );
  const bound = program.steps.filter((step) => step.op === "mountTree");
  assert.deepEqual(
    bound.map(({ source, target, set }) => [source, target, set]),
    [
      [{ made: 0 }, "/data", 0],
      [{ made: 1 }, "/sys/fs/cgroup/cpu", 0],
    ],
  );
});

const ids = [{ containerID: 0, hostID: 1, size: 1 }];
const hook = { path: "/bin/hook" };
const needHost: [string, Partial<Spec>, Partial<Linux>, Partial<ContainerLaunch>][] = [
  ["a mount is shared with the host", { mounts: [{ ...bind, options: ["bind", "rshared"] }] }, {}, {}],
  ["the rootfs is shared", {}, { rootfsPropagation: "shared" }, {}],
  ["a prestart hook enters the namespace", { hooks: { prestart: [hook] } }, {}, {}],
  ["a createRuntime hook enters the namespace", { hooks: { createRuntime: [hook] } }, {}, {}],
  ["a createContainer hook is a file of the host", { hooks: { createContainer: [hook] } }, {}, {}],
  [
    "a filesystem lies on a device of the host",
    { mounts: [{ destination: "/disk", type: "ext4", source: "/dev/sdb" }] },
    {},
    {},
  ],
  [
    "a user namespace is made",
    {},
    { namespaces: [{ type: "mount" }, { type: "user" }], uidMappings: ids, gidMappings: ids },
    {},
  ],
  [
    "the mount namespace is somebody else's",
    {},
    { namespaces: [{ type: "mount", path: "/m" }] },
    { join: [{ fd: 30, types: ["mount"] }] },
  ],
  ["the root cannot be left", {}, {}, { noPivot: true }],
  [
    "few files may be open",
    { process: process({ rlimits: [{ type: "RLIMIT_NOFILE", soft: 1023n, hard: 4096n }] }) },
    {},
    {},
  ],
  ["there are more mounts than a program can open", { mounts: Array<Mount>(201).fill(bind) }, {}, {}],
];

for (const [name, changes, linux, more] of needHost)
  test(`\`compileContainer()\` begins as without an empty namespace where ${name}`, () => {
    const rootfs = { mount: 10, target: "/run/c1/rootfs", parentMount: "/run" };
    const given = launch({ spec: spec(changes, linux), rootfs, ...more });
    assert.deepEqual(compileContainer({ ...given, emptyNamespace }), compileContainer(given));
  });

test("`compileContainer()` keeps to the empty namespace with hooks that run in the container's root or later", () => {
  const program = compile({ hooks: { startContainer: [hook], poststart: [hook], poststop: [hook] } });
  assert.ok(isInOrder(program, "joinNamespaces", "changeRoot", "runHook"));
});

test("`compileSandbox()` gives pause its empty root in a copy of the empty namespace", () => {
  const given = {
    namespaces: { network: true, ipc: true, pid: true, uts: true },
    hostname: "pod-a",
    sysctls: [],
    cgroup: { files: [20] },
    pause: 9,
    rootfs: { mount: 10, target: "/run/s1" },
    emptyNamespace,
  };
  const program = compileSandbox(given);
  const [fork] = program.steps;
  assert.ok(fork?.op === "fork" && (fork.flags & CLONE_NEWNS) === 0);
  assert.ok(isInOrder(program, "fork", "joinNamespaces", "unshare", "attachRootfs", "changeRoot", "execFd"));
  assert.ok(!ops(program).includes("pivotRoot"));
  const userMaps = { uids: ids, gids: ids };
  assert.ok(ops(compileSandbox({ ...given, userMaps })).includes("pivotRoot"));
});

test("`explainSpec()` shows how the launches of a daemon begin", () => {
  const text = explainSpec(spec({ mounts: [bind] }), true);
  assert.match(text, /join mount of an empty mount namespace|an empty mount namespace/);
  assert.match(text, /for \/data: the host's mounts are still in sight/);
  assert.doesNotMatch(explainSpec(spec({ mounts: [bind] })), /empty mount namespace/);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { compileContainer } from "../../../src/oci/compile-container.ts";
import type { ContainerLaunch } from "../../../src/oci/container-launch.ts";
import type { LaunchProgram } from "../../../src/linux/launch-program.ts";
import type { Linux } from "../../../src/oci/linux-spec.ts";
import type { Mount, Spec } from "../../../src/oci/spec.ts";
import { isInOrder, launch, ops, spec, stepsOf } from "./launch-fixtures.ts";

const compile = (changes: Partial<Spec>, linux: Partial<Linux> = {}, more: Partial<ContainerLaunch> = {}) =>
  compileContainer(launch({ spec: spec(changes, linux), ...more }));

test("`compileContainer()` mounts in the spec's order", () => {
  const mounts: Mount[] = ["/b", "/a", "/b/c"].map((destination) => ({ destination, type: "tmpfs" }));
  const targets = stepsOf(compile({ mounts }), "mountFs").map((step) =>
    "target" in step ? step.target : "",
  );
  assert.deepEqual(targets, ["/b", "/a", "/b/c"]);
});

test("`compileContainer()` makes bind mounts with recursive attributes", () => {
  const program = compile({
    mounts: [
      { destination: "/d", type: "bind", source: "/s", options: ["rbind", "rro", "rprivate", "nosuid"] },
    ],
  });
  assert.deepEqual(stepsOf(program, "mountTree"), [
    {
      op: "mountTree",
      source: { hostPath: "/s" },
      recursive: true,
      set: 1,
      clear: 0,
      recursiveAttributes: true,
      propagation: (1 << 18) | (1 << 14),
      target: "/d",
      create: "auto",
    },
  ]);
  assert.deepEqual(stepsOf(program, "setMountAttributes"), [
    { op: "setMountAttributes", target: "/d", set: 2, clear: 0, propagation: 0, recursive: false },
  ]);
});

test("`compileContainer()` closes a read-only tmpfs when what belongs into it was made", () => {
  const program = compile({
    mounts: [
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["ro", "nosuid", "mode=755"] },
      { destination: "/dev/pts", type: "devpts" },
    ],
  });
  const close = ops(program).indexOf("setMountAttributes");
  assert.ok(close > ops(program).lastIndexOf("mknodInRoot"));
  const [dev] = stepsOf(program, "mountFs");
  assert.deepEqual(dev, {
    op: "mountFs",
    type: "tmpfs",
    options: [
      ["source", "tmpfs"],
      ["mode", "755"],
    ],
    attributes: 2,
    target: "/dev",
    create: "directory",
  });
});

test("`compileContainer()` labels new filesystems as each takes it", () => {
  const mounts: Mount[] = [
    { destination: "/proc", type: "proc" },
    { destination: "/dev", type: "tmpfs" },
    { destination: "/dev/mqueue", type: "mqueue" },
  ];
  const program = compile({ mounts }, { mountLabel: "l" });
  assert.deepEqual(
    stepsOf(program, "mountFs").map((step) => ("options" in step ? step.options : [])),
    [[], [["context", "l"]], []],
  );
  assert.deepEqual(stepsOf(program, "setLabel"), [
    { op: "setLabel", target: "/dev/mqueue", label: "l", optional: true },
  ]);
  assert.deepEqual(stepsOf(compile({ mounts }), "setLabel"), []);
});

test("`compileContainer()` shows cgroup v2 by one mount", () => {
  const mount: Mount = { destination: "/sys/fs/cgroup", type: "cgroup", options: ["ro", "nosuid"] };
  const [step] = stepsOf(compile({ mounts: [mount] }), "mountFs");
  assert.deepEqual(step, {
    op: "mountFs",
    type: "cgroup2",
    options: [["source", "cgroup"]],
    attributes: 3,
    target: "/sys/fs/cgroup",
    create: "directory",
  });
});

test("`compileContainer()` shows of cgroup v1 only the container's own directories", () => {
  const mount: Mount = { destination: "/sys/fs/cgroup", type: "cgroup", options: ["ro"] };
  const hierarchies = [
    { name: "memory", path: "/sys/fs/cgroup/memory/pods/c1", links: [] },
    { name: "cpu,cpuacct", path: "/sys/fs/cgroup/cpu,cpuacct/pods/c1", links: ["cpu", "cpuacct"] },
  ];
  const program = compile({ mounts: [mount] }, {}, { cgroupView: { version: 1, hierarchies } });
  const trees = program.steps.filter((step) => step.op === "mountTree");
  assert.deepEqual(
    trees.map(({ source, target, set }) => [source, target, set]),
    [
      [{ hostPath: "/sys/fs/cgroup/memory/pods/c1" }, "/sys/fs/cgroup/memory", 1],
      [{ hostPath: "/sys/fs/cgroup/cpu,cpuacct/pods/c1" }, "/sys/fs/cgroup/cpu,cpuacct", 1],
    ],
  );
  const links = program.steps.filter((step) => step.op === "symlinkInRoot" && step.path.startsWith("/sys"));
  assert.deepEqual(
    links.map((step) => ("path" in step ? step.path : "")),
    ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpuacct"],
  );
});

test("`compileContainer()` keeps the host's tree shared where a mount is to be, but for the one under the rootfs", () => {
  const mounts: Mount[] = [{ destination: "/d", type: "bind", source: "/s", options: ["rbind", "rshared"] }];
  const program = compile({ mounts }, {}, { rootfs: { mount: 10, target: "/run/c/r", parentMount: "/run" } });
  assert.deepEqual(stepsOf(program, "setPropagation"), [
    { op: "setPropagation", path: "/run", flags: 1 << 18 },
  ]);
  assert.throws(() => compile({ mounts }), { code: "internal" });
});

test("`compileContainer()` shares only those mounts that are to be", () => {
  const mounts: Mount[] = [
    { destination: "/d", type: "bind", source: "/s", options: ["rbind", "rshared"] },
    { destination: "/e", type: "bind", source: "/e", options: ["rbind"] },
  ];
  const program = compile({ mounts }, {}, { rootfs: { mount: 10, target: "/run/c/r", parentMount: "/run" } });
  const propagations = ({ steps }: LaunchProgram): unknown[] =>
    steps.flatMap((step) => (step.op === "mountTree" ? [[step.target, step.propagation]] : []));
  assert.deepEqual(propagations(program), [
    ["/d", (1 << 20) | (1 << 14)],
    ["/e", (1 << 19) | (1 << 14)],
  ]);
  assert.deepEqual(propagations(compile({ mounts: mounts.slice(1) })), [["/e", 0]]);
});

test("`compileContainer()` leaves no option of a cgroup mount out", () => {
  const mounts: Mount[] = [
    { destination: "/c", type: "cgroup", source: "cgroup", options: ["ro", "rslave", "nsdelegate"] },
  ];
  const program = compile({ mounts });
  const made = program.steps.find((step) => step.op === "mountFs");
  assert.deepEqual(made?.options, [
    ["source", "cgroup"],
    ["nsdelegate", true],
  ]);
  const changed = program.steps.find((step) => step.op === "setMountAttributes");
  assert.equal(changed?.propagation, (1 << 19) | (1 << 14));
  const cgroupView = { version: 1 as const, hierarchies: [] };
  assert.throws(() => compile({ mounts }, {}, { cgroupView }), /mounts\[0\]\.options has nsdelegate/);
});

test("`compileContainer()` cuts everything else off the host", () => {
  assert.deepEqual(stepsOf(compile({}), "setPropagation"), [
    { op: "setPropagation", path: "/", flags: (1 << 19) | (1 << 14) },
  ]);
});

test("`compileContainer()` makes no devices where /dev comes from elsewhere", () => {
  const mounts: Mount[] = [{ destination: "/dev", type: "bind", source: "/dev", options: ["rbind"] }];
  assert.ok(!ops(compile({ mounts })).some((op) => op === "mknodInRoot" || op === "symlinkInRoot"));
});

test("`compileContainer()` lets the spec's device take the place of a default one", () => {
  const devices: Linux["devices"] = [
    { type: "c", path: "/dev/null", major: 1, minor: 5 },
    { type: "b", path: "/dev/sdz", major: 259, minor: 300, fileMode: 0o100640, uid: 1, gid: 2 },
    { type: "p", path: "/dev/fifo" },
  ];
  const nodes = stepsOf(compile({}, { devices }), "mknodInRoot");
  assert.deepEqual(
    nodes.filter((step) => "path" in step && step.path === "/dev/null"),
    [{ op: "mknodInRoot", path: "/dev/null", mode: 0o020666, device: 0x105n, uid: 0, gid: 0 }],
  );
  assert.deepEqual(nodes.slice(-2), [
    { op: "mknodInRoot", path: "/dev/sdz", mode: 0o060640, device: 0x11032cn, uid: 1, gid: 2 },
    { op: "mknodInRoot", path: "/dev/fifo", mode: 0o010666, device: 0n, uid: 0, gid: 0 },
  ]);
});

test("`compileContainer()` uses a detached mount where it is given one", () => {
  const mounts: Mount[] = [{ destination: "/img", type: "bind", source: "/x", options: ["rbind", "ro"] }];
  const [step] = compile({ mounts }, {}, { detached: new Map([["/img", 33]]) }).steps.filter(
    ({ op }) => op === "mountTree",
  );
  assert.ok(step?.op === "mountTree");
  assert.deepEqual(step.source, { fd: 33 });
});

const idMap = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
const otherMap = [{ containerID: 0, hostID: 5_000, size: 10 }];
const idmapped = (destination: string, map = idMap): Mount => ({
  destination,
  source: "/s",
  options: ["rbind"],
  uidMappings: map,
  gidMappings: map,
});

test("`compileContainer()` makes one user namespace for mounts with equal mappings, before everything else", () => {
  const program = compile({ mounts: [idmapped("/a"), idmapped("/b", otherMap), idmapped("/c")] });
  assert.deepEqual(ops(program).slice(0, 3), ["makeUserNamespace", "makeUserNamespace", "fork"]);
  const used = program.steps.flatMap((step) => (step.op === "mountTree" ? [step.idmap] : []));
  assert.deepEqual(
    used,
    [0, 1, 0].map((made) => ({ userNamespace: { made }, recursive: false })),
  );
});

test("`compileContainer()` opens what is mounted before a user namespace is joined, and maps as it does", () => {
  const linux: Partial<Linux> = {
    namespaces: [{ type: "mount" }, { type: "user", path: "/proc/1/ns/user" }],
    uidMappings: idMap,
    gidMappings: idMap,
  };
  const more = { join: [{ fd: 5, types: ["user" as const] }], userNamespace: 6 };
  const mounts = [
    idmapped("/a"),
    { ...idmapped("/b", []), options: ["rbind", "ridmap", "ro"] },
    idmapped("/c", otherMap),
  ];
  const program = compile({ mounts }, linux, more);
  const opens = program.steps.flatMap((step) => (step.op === "openMount" ? [step.idmap] : []));
  assert.deepEqual(opens, [
    { userNamespace: { fd: 6 }, recursive: false },
    { userNamespace: { fd: 6 }, recursive: true },
    { userNamespace: { made: 0 }, recursive: false },
  ]);
  const sources = program.steps.flatMap((step) =>
    step.op === "mountTree" && step.target.length === 2 ? [step.source] : [],
  );
  assert.deepEqual(sources, [{ made: 1 }, { made: 2 }, { made: 3 }]);
  assert.ok(
    isInOrder(
      program,
      "makeUserNamespace",
      "fork",
      "ownStdio",
      "openMount",
      "hostDirectory",
      "joinNamespaces",
    ),
  );
});

test("`compileContainer()` fills a tmpfs from below, with the mode and owner that no option gives", () => {
  const copyUps = [["tmpcopyup"], ["tmpcopyup", "mode=700", "uid=1"]].map((options) => {
    const program = compile({ mounts: [{ destination: "/d", type: "tmpfs", options }] });
    return program.steps.flatMap((step) => (step.op === "mountFs" ? [step.copyUp] : []));
  });
  assert.deepEqual(copyUps, [[["content", "mode", "owner"]], [["content"]]]);
});

test("`compileContainer()` changes the attributes of an earlier mount by remount", () => {
  const mounts: Mount[] = [
    { destination: "/d", type: "tmpfs" },
    { destination: "/d", options: ["remount", "bind", "ro", "nosuid"] },
  ];
  const changes = stepsOf(compile({ mounts }), "setMountAttributes");
  assert.deepEqual(changes, [
    { op: "setMountAttributes", target: "/d", set: 3, clear: 0, propagation: 0, recursive: false },
  ]);
});

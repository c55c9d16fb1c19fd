import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CricketError } from "../../../src/base/errors.ts";
import { parseProcess, parseSpec, stringifySpec } from "../../../src/oci/parse-spec.ts";

const minimal = { ociVersion: "1.2.0", process: { cwd: "/", user: { uid: 0, gid: 0 } } };
const parse = (changes: object) => parseSpec(JSON.stringify({ ...minimal, ...changes }));

test("`parseSpec()` keeps 64-bit integers exact", () => {
  const text = `{"ociVersion":"1.0.2","process":{"cwd":"/","user":{"uid":0,"gid":0},
    "rlimits":[{"type":"RLIMIT_CORE","soft":18446744073709551615,"hard":18446744073709551615}]},
    "linux":{"resources":{"memory":{"limit":9223372036854775807,"swap":-9223372036854775808},
    "cpu":{"quota":-1,"shares":1024}}}}`;
  const spec = parseSpec(text);
  assert.equal(spec.process?.rlimits?.[0]?.hard, 2n ** 64n - 1n);
  assert.deepEqual(spec.linux?.resources?.memory, { limit: 2n ** 63n - 1n, swap: -(2n ** 63n) });
  assert.deepEqual(spec.linux?.resources?.cpu, { quota: -1n, shares: 1024n });
  assert.deepEqual(parseSpec(stringifySpec(spec)), spec);
});

test("`parseSpec()` leaves long digits in strings alone", () => {
  const annotations = { a: "12345678901234567890", 'b"1234567890123456789': '\\"1234567890123456789' };
  assert.deepEqual(parse({ annotations }).annotations, annotations);
});

// The marker is how integers are carried through JSON.parse: a document may say it too.
test("`parseSpec()` does not take a string for an integer", () => {
  const text = JSON.stringify({ ...minimal, hostname: "\u0000integer:12" });
  assert.throws(() => parseSpec(text), { code: "invalid-argument", message: /^hostname is / });
});

test("`parseSpec()` ignores properties that it does not know, as the spec demands", () => {
  assert.deepEqual(parse({ future: { x: 1 } }), minimal);
});

test("`parseSpec()` notes the path of every property that the spec does not have, at any depth", () => {
  const more = { x: 1 };
  const document = {
    ...minimal,
    ...more,
    root: { path: "r", ...more },
    mounts: [{ destination: "/m", ...more }],
    hooks: { poststop: [{ path: "/h", ...more }], ...more },
    process: {
      ...minimal.process,
      rlimits: [{ type: "RLIMIT_CORE", soft: 0, hard: 0, ...more }],
      user: { uid: 0, gid: 0, ...more },
    },
    linux: {
      namespaces: [{ type: "mount", ...more }],
      devices: [{ type: "p", path: "/f", ...more }],
      timeOffsets: { monotonic: more },
      netDevices: { eth0: more },
      intelRdt: more,
      memoryPolicy: { mode: "MPOL_LOCAL", ...more },
      seccomp: {
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: ["a"], action: "SCMP_ACT_LOG", ...more }],
      },
      resources: { devices: [{ allow: true, ...more }], cpu: more },
    },
  };
  const unknown: string[] = [];
  parseSpec(JSON.stringify(document), unknown);
  assert.deepEqual(unknown.sort(), [
    "hooks.poststop[0].x",
    "hooks.x",
    "linux.devices[0].x",
    "linux.intelRdt.x",
    "linux.memoryPolicy.x",
    "linux.namespaces[0].x",
    'linux.netDevices["eth0"].x',
    "linux.resources.cpu.x",
    "linux.resources.devices[0].x",
    "linux.seccomp.syscalls[0].x",
    'linux.timeOffsets["monotonic"].x',
    "mounts[0].x",
    "process.rlimits[0].x",
    "process.user.x",
    "root.x",
    "x",
  ]);
});

test("`parseSpec()` takes 0 for an I/O priority that Go left out", () => {
  const { process } = parse({ process: { ...minimal.process, ioPriority: { class: "IOPRIO_CLASS_IDLE" } } });
  assert.deepEqual(process?.ioPriority, { class: "IOPRIO_CLASS_IDLE", priority: 0 });
});

test("`parseSpec()` takes the older properties of intelRdt for monitoring", () => {
  const { linux } = parse({ linux: { intelRdt: { enableCMT: true, enableMBM: false } } });
  assert.deepEqual(linux?.intelRdt, { enableMonitoring: true });
});

test("`parseSpec()` takes null for missing", () => {
  assert.deepEqual(parse({ hooks: null, mounts: null, linux: { resources: null } }), {
    ...minimal,
    linux: {},
  });
});

test("`parseSpec()` takes an empty namespace path for none, and -1 for any device number", () => {
  const { linux } = parse({
    linux: {
      namespaces: [{ type: "pid", path: "" }],
      resources: { devices: [{ allow: false, major: -1, minor: -1, access: "rwm" }] },
    },
  });
  assert.deepEqual(linux?.namespaces, [{ type: "pid" }]);
  assert.deepEqual(linux?.resources?.devices, [{ allow: false, access: "rwm" }]);
});

const refused: [changes: object, message: string][] = [
  [{ ociVersion: "2.0.0" }, 'ociVersion is "2.0.0": not a version 1.x.y'],
  [{ ociVersion: undefined }, "ociVersion is missing"],
  [{ root: {} }, "root.path is missing"],
  [{ root: [] }, "root is []: not an object"],
  [{ hostname: 5 }, "hostname is 5: not a string"],
  [{ hostname: "a\0b" }, 'hostname is "a\\u0000b": it contains a NUL byte'],
  [{ mounts: {} }, "mounts is {}: not an array"],
  [
    { mounts: [{ destination: "/x" }, { destination: "" }] },
    'mounts[1].destination is "": must not be empty',
  ],
  [{ mounts: [{ destination: "/x", options: [1] }] }, "mounts[0].options[0] is 1: not a string"],
  [{ process: { cwd: "a", user: { uid: 0, gid: 0 } } }, 'process.cwd is "a": not an absolute path'],
  [{ process: { cwd: "/", user: { uid: -1, gid: 0 } } }, "process.user.uid is -1: not in 0..4294967294"],
  [
    // -1 to setresuid(2), which would leave root as it is.
    { process: { cwd: "/", user: { uid: 4294967295, gid: 0 } } },
    "process.user.uid is 4294967295: not in 0..4294967294",
  ],
  [{ process: { cwd: "/", user: { uid: 1.5, gid: 0 } } }, "process.user.uid is 1.5: not an integer"],
  [{ process: { cwd: "/", user: { uid: "0", gid: 0 } } }, 'process.user.uid is "0": not an integer'],
  [{ process: { ...minimal.process, oomScoreAdj: 1001 } }, "process.oomScoreAdj is 1001: not in -1000..1000"],
  [
    { process: { ...minimal.process, rlimits: [{ type: "RLIMIT_CORE", soft: 2, hard: 1 }] } },
    "process.rlimits[0].soft is 2: above the hard limit 1",
  ],
  [{ hooks: { prestart: [{ path: "x" }] } }, 'hooks.prestart[0].path is "x": not an absolute path'],
  [{ annotations: { a: 1 } }, 'annotations["a"] is 1: not a string'],
  [
    { linux: { namespaces: [{ type: "net" }] } },
    'linux.namespaces[0].type is "net": not one of pid, network, mount, ipc, uts, user, cgroup, time',
  ],
  [
    { linux: { namespaces: [{ type: "pid" }, { type: "pid" }] } },
    "linux.namespaces has two namespaces of type pid",
  ],
  [{ linux: { devices: [{ type: "c", path: "/dev/x", major: 1 }] } }, "linux.devices[0].minor is missing"],
  [
    { linux: { resources: { memory: { limit: "10" } } } },
    'linux.resources.memory.limit is "10": not an integer',
  ],
  [
    { linux: { resources: { devices: [{ allow: true, access: "rx" }] } } },
    'linux.resources.devices[0].access is "rx": not made of r, w and m',
  ],
  [{ annotations: { "": "x" } }, "annotations has an empty key"],
  [{ windows: {} }, "windows is set: this runtime is for Linux"],
  [{ vm: {} }, "vm is set: this runtime is for Linux"],
  [{ linux: { netDevices: { "a/b": {} } } }, 'linux.netDevices key is "a/b": not a name of a network device'],
  [
    { linux: { netDevices: { eth0: { name: "much-too-long-for-it" } } } },
    'linux.netDevices["eth0"].name is "much-too-long-for-it": not a name of a network device',
  ],
  [
    { linux: { memoryPolicy: { mode: "MPOL_X" } } },
    'linux.memoryPolicy.mode is "MPOL_X": not one of MPOL_DEFAULT, MPOL_PREFERRED, MPOL_BIND, MPOL_INTERLEAVE, MPOL_LOCAL, MPOL_PREFERRED_MANY, MPOL_WEIGHTED_INTERLEAVE',
  ],
  [{ linux: { intelRdt: { closID: "../x" } } }, 'linux.intelRdt.closID is "../x": not a name'],
  [
    { linux: { intelRdt: { memBwSchema: "L3:0=f" } } },
    'linux.intelRdt.memBwSchema is "L3:0=f": does not begin with MB:',
  ],
  [
    { linux: { seccomp: { defaultAction: "SCMP_ACT_ALLOW", defaultErrnoRet: 1 } } },
    "linux.seccomp.defaultErrnoRet is set, but SCMP_ACT_ALLOW answers no errno",
  ],
  [
    {
      linux: {
        seccomp: {
          defaultAction: "SCMP_ACT_ALLOW",
          syscalls: [{ names: ["a"], action: "SCMP_ACT_KILL", errnoRet: 1 }],
        },
      },
    },
    "linux.seccomp.syscalls[0].errnoRet is set, but SCMP_ACT_KILL answers no errno",
  ],
  [
    {
      linux: {
        seccomp: { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: [], action: "SCMP_ACT_LOG" }] },
      },
    },
    "linux.seccomp.syscalls[0].names is empty",
  ],
  [
    { linux: { seccomp: { defaultAction: "SCMP_ACT_ALLOW", listenerMetadata: "m" } } },
    "linux.seccomp.listenerMetadata is set, but linux.seccomp.listenerPath is not",
  ],
  [{ linux: { maskedPaths: ["proc"] } }, 'linux.maskedPaths[0] is "proc": not an absolute path'],
];
for (const [changes, message] of refused)
  test(`\`parseSpec()\` says: ${message}`, () => {
    assert.throws(() => parse(changes), { code: "invalid-argument", message });
  });

test("`parseSpec()` takes relative mount destinations from the root, as the spec has it for old documents", () => {
  assert.equal(parse({ mounts: [{ destination: "proc" }] }).mounts?.[0]?.destination, "/proc");
});

test("`parseSpec()` throws nothing but invalid-argument, whatever it reads", () => {
  const values = fc.oneof(
    fc.json(),
    fc.string(),
    fc.json().map((json) => `{"ociVersion":"1.0.0","linux":${json}}`),
  );
  fc.assert(
    fc.property(values, (text) => {
      try {
        parseSpec(text);
      } catch (error) {
        assert.ok(error instanceof CricketError && error.code === "invalid-argument", String(error));
      }
    }),
  );
});

test("`stringifySpec()` and `parseSpec()` are inverses for integers of any size", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.string(), (limit, text) => {
      const annotations = { note: text.replaceAll("\0", "") };
      const spec = { ...minimal, annotations, linux: { resources: { memory: { limit } } } };
      assert.deepEqual(parseSpec(stringifySpec(spec)), spec);
    }),
  );
});

test("`parseProcess()` reads the process alone", () => {
  const process = { cwd: "/", user: { uid: 1, gid: 2 }, args: ["sh"] };
  assert.deepEqual(parseProcess(JSON.stringify(process)), process);
  assert.throws(() => parseProcess("{"), { code: "invalid-argument", message: /^process\.json is not JSON/ });
});

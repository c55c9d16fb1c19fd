// What the compiler refuses: each error names the property of the spec.
import assert from "node:assert/strict";
import { test } from "node:test";
import { compileContainer } from "../../../src/oci/compile-container.ts";
import type { Linux } from "../../../src/oci/linux-spec.ts";
import type { Spec } from "../../../src/oci/spec.ts";
import { launch, process, spec, stepsOf } from "./launch-fixtures.ts";

const compile = (changes: Partial<Spec>, linux: Partial<Linux> = {}) =>
  compileContainer(launch({ spec: spec(changes, linux) }));
const mappings = { containerID: 0, hostID: 100000, size: 65536 };

const refused: [
  what: string,
  changes: Partial<Spec>,
  linux: Partial<Linux>,
  code: string,
  message: RegExp,
][] = [
  [
    "no process",
    { process: undefined } as unknown as Partial<Spec>,
    {},
    "invalid-argument",
    /^process is missing/,
  ],
  ["no arguments", { process: process({ args: [] }) }, {}, "invalid-argument", /^process\.args is empty/],
  [
    "the host's mount namespace",
    {},
    { namespaces: [{ type: "pid" }] },
    "invalid-argument",
    /^linux\.namespaces has no mount/,
  ],
  [
    "mappings without a user namespace",
    {},
    { uidMappings: [mappings] },
    "invalid-argument",
    /^linux\.uidMappings is set, but linux\.namespaces has no user namespace/,
  ],
  [
    "offsets without a time namespace",
    {},
    { timeOffsets: { monotonic: { secs: 1n } } },
    "invalid-argument",
    /^linux\.timeOffsets is set/,
  ],
  [
    "offsets of a clock that has none",
    {},
    { namespaces: [{ type: "mount" }, { type: "time" }], timeOffsets: { realtime: {} } },
    "invalid-argument",
    /^linux\.timeOffsets has "realtime"/,
  ],
  [
    "network devices without a network namespace",
    {},
    { namespaces: [{ type: "mount" }], netDevices: { eth9: {} } },
    "invalid-argument",
    /^linux\.netDevices is set/,
  ],
  [
    "a memory policy that needs nodes",
    {},
    { memoryPolicy: { mode: "MPOL_BIND" } },
    "invalid-argument",
    /^linux\.memoryPolicy\.nodes is empty/,
  ],
  [
    "a memory policy that takes none",
    {},
    { memoryPolicy: { mode: "MPOL_LOCAL", nodes: "0" } },
    "invalid-argument",
    /^linux\.memoryPolicy\.nodes is "0"/,
  ],
  [
    "memory nodes that are no list",
    {},
    { memoryPolicy: { mode: "MPOL_BIND", nodes: "3-1" } },
    "invalid-argument",
    /^linux\.memoryPolicy\.nodes is "3-1"/,
  ],
  [
    "a scheduler that Linux does not have",
    { process: process({ scheduler: { policy: "SCHED_ISO" } }) },
    {},
    "invalid-argument",
    /^process\.scheduler\.policy is SCHED_ISO/,
  ],
  [
    "a deadline scheduler without a deadline",
    { process: process({ scheduler: { policy: "SCHED_DEADLINE", runtime: 5000n } }) },
    {},
    "invalid-argument",
    /^process\.scheduler\.deadline is missing/,
  ],
  [
    "a deadline scheduler whose runtime is longer than its deadline",
    { process: process({ scheduler: { policy: "SCHED_DEADLINE", runtime: 5000n, deadline: 4000n } }) },
    {},
    "invalid-argument",
    /^process\.scheduler\.runtime is 5000: longer/,
  ],
  [
    "a domain name that is given twice",
    { domainname: "a" },
    { sysctl: { "kernel.domainname": "b" } },
    "invalid-argument",
    /^linux\.sysctl\["kernel\.domainname"\]: the spec sets it/,
  ],
  [
    "flags of the personality",
    {},
    { personality: { domain: "LINUX", flags: ["X"] } },
    "invalid-argument",
    /^linux\.personality\.flags/,
  ],
  [
    "a hostname for the host",
    { hostname: "x" },
    { namespaces: [{ type: "mount" }] },
    "invalid-argument",
    /^hostname is set/,
  ],
  [
    "user mappings that are empty",
    {},
    { namespaces: [{ type: "mount" }, { type: "user" }] },
    "invalid-argument",
    /^linux\.uidMappings is empty/,
  ],
  [
    "an unknown rlimit",
    { process: process({ rlimits: [{ type: "RLIMIT_X", soft: 0n, hard: 0n }] }) },
    {},
    "invalid-argument",
    /^process\.rlimits\[0\]\.type/,
  ],
  [
    "an rlimit given twice",
    {
      process: process({
        rlimits: [
          { type: "RLIMIT_CORE", soft: 0n, hard: 0n },
          { type: "RLIMIT_CORE", soft: 0n, hard: 0n },
        ],
      }),
    },
    {},
    "invalid-argument",
    /RLIMIT_CORE twice/,
  ],
  [
    "an unknown capability",
    { process: process({ capabilities: { bounding: ["CAP_X"] } }) },
    {},
    "invalid-argument",
    /^process\.capabilities\.bounding has "CAP_X"/,
  ],
  [
    "filesystem options for a bind mount",
    { mounts: [{ destination: "/d", source: "/s", options: ["bind", "size=1"] }] },
    {},
    "invalid-argument",
    /^mounts\[0\]\.options has size/,
  ],
  [
    "a bind mount without a source",
    { mounts: [{ destination: "/d", options: ["bind"] }] },
    {},
    "invalid-argument",
    /^mounts\[0\]\.source is missing/,
  ],
  [
    "a mount without a type",
    { mounts: [{ destination: "/d" }] },
    {},
    "invalid-argument",
    /^mounts\[0\]\.type is missing/,
  ],
  [
    "an idmapped mount with half of its mappings",
    { mounts: [{ destination: "/d", source: "/s", options: ["bind"], uidMappings: [mappings] }] },
    {},
    "invalid-argument",
    /^mounts\[0\]\.gidMappings is missing/,
  ],
  [
    "an idmapped mount without any mappings",
    { mounts: [{ destination: "/d", source: "/s", options: ["rbind", "ridmap"] }] },
    {},
    "invalid-argument",
    /^mounts\[0\]\.options has idmap, but neither/,
  ],
  [
    "an idmapped filesystem",
    { mounts: [{ destination: "/d", type: "tmpfs", uidMappings: [mappings], gidMappings: [mappings] }] },
    {},
    "invalid-argument",
    /^mounts\[0\]: only a bind mount/,
  ],
  [
    "tmpcopyup of something else than a tmpfs",
    { mounts: [{ destination: "/d", type: "mqueue", options: ["tmpcopyup"] }] },
    {},
    "invalid-argument",
    /^mounts\[0\]\.options has tmpcopyup/,
  ],
  [
    "a user that its user namespace does not map",
    { process: process({ user: { uid: 70_000, gid: 0 } }) },
    { namespaces: [{ type: "mount" }, { type: "user" }], uidMappings: [mappings], gidMappings: [mappings] },
    "invalid-argument",
    /^process\.user\.uid is 70000: not mapped/,
  ],
];
for (const [what, changes, linux, code, message] of refused)
  test(`\`compileContainer()\` refuses ${what}`, () => {
    assert.throws(() => compile(changes, linux), { code, message });
  });

// CVE-2022-0532, CVE-2022-0811: a parameter that belongs to no namespace of the container is the host's.
const sysctls: [name: string, value: string, types: ("network" | "ipc" | "uts")[], message: RegExp][] = [
  ["kernel.core_pattern", "|/evil", ["network", "ipc", "uts"], /belongs to no namespace/],
  ["net.ipv4.ip_forward", "1", ["ipc"], /no network namespace/],
  ["kernel.shmmax", "1", ["network"], /no ipc namespace/],
  ["kernel.hostname", "x", ["network"], /no uts namespace/],
  ["net.ipv4.x/../../../kernel/core_pattern", "x", ["network"], /belongs to no namespace/],
  ["net.ipv4.ip_forward=1+kernel.core_pattern", "x", ["network"], /belongs to no namespace/],
  ["net.ipv4.ip_forward", "1\nkernel.core_pattern=x", ["network"], /newline/],
];
for (const [name, value, types, message] of sysctls)
  test(`CVE-2022-0532: \`compileContainer()\` refuses sysctl ${JSON.stringify(name)} with only ${types.join()}`, () => {
    const namespaces = [{ type: "mount" as const }, ...types.map((type) => ({ type }))];
    assert.throws(() => compile({}, { namespaces, sysctl: { [name]: value } }), {
      code: "invalid-argument",
      message,
    });
  });

test("`compileContainer()` finds the file of a sysctl with dots in an interface name", () => {
  const sysctl = { "net.ipv4.conf.eth0/100.forwarding": "1", "net/ipv4/conf/eth0.100/rp_filter": "0" };
  assert.deepEqual(
    stepsOf(compile({}, { sysctl }), "writeProc").map((step) => ("path" in step ? step.path : "")),
    ["/proc/sys/net/ipv4/conf/eth0.100/forwarding", "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"],
  );
});

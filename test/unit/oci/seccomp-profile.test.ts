import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CricketError } from "../../../src/base/errors.ts";
import { parseSeccompProfile, resolveSeccompProfile } from "../../../src/oci/seccomp-profile.ts";

const parse = (profile: unknown) => parseSeccompProfile(JSON.stringify(profile), "x.json");
const context = {
  capabilities: ["CAP_CHOWN"],
  architecture: "amd64",
  kernelVersion: { major: 5, minor: 10 },
};

test("`parseSeccompProfile()` takes the plain object of the runtime-spec", () => {
  const profile = parse({
    defaultAction: "SCMP_ACT_ALLOW",
    architectures: ["SCMP_ARCH_X86_64"],
    syscalls: [{ names: ["chmod"], action: "SCMP_ACT_ERRNO", errnoRet: 5 }],
  });
  assert.deepEqual(resolveSeccompProfile(profile, context), profile);
});

test("`parseSeccompProfile()` takes null lists and single names, as Go programs write them", () => {
  const profile = parse({
    defaultAction: "SCMP_ACT_ERRNO",
    architectures: null,
    syscalls: [
      { name: "read", action: "SCMP_ACT_ALLOW", args: null, comment: "", includes: {}, excludes: {} },
    ],
  });
  assert.deepEqual(profile.syscalls[0]?.names, ["read"]);
});

test("`parseSeccompProfile()` keeps 64-bit values exact", () => {
  const text = `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["x"],"action":"SCMP_ACT_ERRNO",
    "args":[{"index":0,"value":18446744073709551615,"op":"SCMP_CMP_EQ"}]}]}`;
  const [rule] = parseSeccompProfile(text, "x.json").syscalls;
  assert.equal(rule?.args?.[0]?.value, 2n ** 64n - 1n);
});

const refused: [string, unknown, string][] = [
  ["a list", [], "x.json: the document is []: not an object"],
  ["no default action", {}, "x.json: defaultAction is missing"],
  [
    "an unknown action",
    { defaultAction: "ALLOW" },
    'x.json: defaultAction is "ALLOW": not one of SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD, SCMP_ACT_TRAP, SCMP_ACT_ERRNO, SCMP_ACT_TRACE, SCMP_ACT_ALLOW, SCMP_ACT_LOG, SCMP_ACT_NOTIFY',
  ],
  [
    "a rule without names",
    { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ action: "SCMP_ACT_LOG" }] },
    "x.json: syscalls[0].names is missing",
  ],
  [
    "a bad kernel version",
    {
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [{ names: ["x"], action: "SCMP_ACT_LOG", includes: { minKernel: "new" } }],
    },
    'x.json: syscalls[0].includes.minKernel is "new": not of the form 4.8',
  ],
  [
    "an argument beyond the sixth",
    {
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [{ names: ["x"], action: "SCMP_ACT_LOG", args: [{ index: 6, value: 0, op: "SCMP_CMP_EQ" }] }],
    },
    "x.json: syscalls[0].args[0].index is 6: not in 0..5",
  ],
  [
    "an errno of an action that answers none",
    { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["x"], action: "SCMP_ACT_LOG", errnoRet: 1 }] },
    "x.json: syscalls[0].errnoRet is set, but SCMP_ACT_LOG answers no errno",
  ],
  [
    "notifications that nobody would get",
    { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["x"], action: "SCMP_ACT_NOTIFY" }] },
    "x.json has SCMP_ACT_NOTIFY without a listenerPath: nobody would answer",
  ],
  [
    "both lists of architectures",
    {
      defaultAction: "SCMP_ACT_ALLOW",
      architectures: ["SCMP_ARCH_X86"],
      archMap: [{ architecture: "SCMP_ARCH_X86_64" }],
    },
    "x.json has both architectures and archMap",
  ],
];
for (const [what, profile, message] of refused)
  test(`\`parseSeccompProfile()\` refuses ${what}`, () => {
    assert.throws(() => parse(profile), {
      code: "invalid-argument",
      message,
    });
  });

test("`parseSeccompProfile()` throws nothing but invalid-argument, whatever it reads", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      try {
        parseSeccompProfile(text, "x.json");
      } catch (error) {
        assert.ok(error instanceof CricketError && error.code === "invalid-argument");
      }
    }),
  );
});

const rule = (conditions: object) => ({
  defaultAction: "SCMP_ACT_ERRNO",
  syscalls: [{ names: ["x"], action: "SCMP_ACT_ALLOW", ...conditions }],
});
const conditions: [object, boolean][] = [
  [{}, true],
  [{ includes: { caps: ["CAP_CHOWN"] } }, true],
  [{ includes: { caps: ["CAP_CHOWN", "CAP_KILL"] } }, false],
  [{ excludes: { caps: ["CAP_KILL", "CAP_CHOWN"] } }, false],
  [{ excludes: { caps: ["CAP_KILL"] } }, true],
  [{ includes: { arches: ["amd64", "arm64"] } }, true],
  [{ includes: { arches: ["arm64"] } }, false],
  [{ excludes: { arches: ["amd64"] } }, false],
  [{ includes: { minKernel: "4.8" } }, true],
  [{ includes: { minKernel: "5.10" } }, true],
  [{ includes: { minKernel: "5.11" } }, false],
  [{ excludes: { minKernel: "4.8" } }, false],
];
for (const [condition, counts] of conditions)
  test(`\`resolveSeccompProfile()\` ${counts ? "takes" : "leaves out"} a rule with ${JSON.stringify(condition)}`, () => {
    const { syscalls } = resolveSeccompProfile(parse(rule(condition)), context);
    assert.equal(syscalls?.length, counts ? 1 : 0);
  });

test("`resolveSeccompProfile()` takes the sub-architectures of the host's own", () => {
  const profile = parse({
    defaultAction: "SCMP_ACT_ALLOW",
    archMap: [
      { architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86"] },
      { architecture: "SCMP_ARCH_AARCH64", subArchitectures: ["SCMP_ARCH_ARM"] },
    ],
  });
  assert.deepEqual(resolveSeccompProfile(profile, context).architectures, [
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X86",
  ]);
});

test("`resolveSeccompProfile()` answers with the same object for the same capabilities, in any order", () => {
  const profile = parse(rule({}));
  const capabilities = ["CAP_KILL", "CAP_CHOWN"];
  assert.equal(
    resolveSeccompProfile(profile, { ...context, capabilities }),
    resolveSeccompProfile(profile, { ...context, capabilities: capabilities.toReversed() }),
  );
});

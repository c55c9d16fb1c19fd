import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encodeDeviceFilter } from "../../../../src/linux/cgroup/device-filter.ts";
import {
  formatException,
  resolveDeviceRules,
  type DevicePolicy,
  type DeviceRule,
} from "../../../../src/linux/cgroup/device-rules.ts";

test("`resolveDeviceRules()` starts over at a rule for all devices", () => {
  const rules: DeviceRule[] = [
    { allow: true, type: "c", major: 1, minor: 3, access: "rwm" },
    { allow: false },
    { allow: true, type: "c", major: 1, minor: 5, access: "r" },
    { allow: true, type: "c", major: 1, minor: 5, access: "w" },
  ];
  const policy = resolveDeviceRules(rules);
  assert.equal(policy.allowByDefault, false);
  assert.deepEqual(policy.exceptions.map(formatException), ["c 1:5 rw"]);
});

test("`resolveDeviceRules()` takes access away from the exception of the same device", () => {
  const policy = resolveDeviceRules([
    { allow: false, type: "a", access: "rwm" },
    { allow: true, type: "b", major: 8, minor: -1, access: "rwm" },
    { allow: false, type: "b", major: 8, access: "wm" },
    { allow: true, type: "c", major: 1, minor: 3, access: "m" },
    { allow: false, type: "c", major: 1, minor: 3, access: "m" },
  ]);
  assert.deepEqual(policy.exceptions.map(formatException), ["b 8:* r"]);
});

test("`resolveDeviceRules()` spells out a partial rule for all types", () => {
  const policy = resolveDeviceRules([{ allow: false }, { allow: true, access: "m" }]);
  assert.deepEqual(policy.exceptions.map(formatException), ["b *:* m", "c *:* m"]);
});

test("`resolveDeviceRules()` names the bad rule", () => {
  const bad: DeviceRule[] = [
    { allow: true, type: "p" },
    { allow: true, access: "x" },
    { allow: true, major: 2 ** 40 },
  ];
  for (const rule of bad)
    assert.throws(() => resolveDeviceRules([{ allow: false }, rule]), {
      code: "invalid-argument",
      message: /^devices\[1\]/,
    });
});

interface Request {
  type: "b" | "c";
  major: number;
  minor: number;
  access: number;
}

interface Operands {
  left: number;
  right: number;
  value: number;
}

/** New value of the destination register, by opcode. */
const assignments: Record<number, (operands: Operands) => number> = {
  0xbc: ({ right }) => right,
  0xb7: ({ value }) => value,
  0x54: ({ left, value }) => (left & value) >>> 0,
  0x74: ({ left, value }) => left >>> value,
};

/** Whether to jump, by opcode. */
const tests: Record<number, (operands: Operands) => boolean> = {
  0x16: ({ left, value }) => left === value,
  0x56: ({ left, value }) => left !== value,
  0x5e: ({ left, right }) => left !== right,
};

/** Executes the subset of eBPF the filter uses, as the kernel would. */
function run(program: Buffer, request: Request): number {
  const context = [(request.access << 16) | (request.type === "b" ? 1 : 2), request.major, request.minor];
  const registers = new Uint32Array(11);
  for (let at = 0; at < program.length; at += 8) {
    const code = program.readUInt8(at);
    const to = program.readUInt8(at + 1) & 15;
    const offset = program.readInt16LE(at + 2);
    const right = registers[program.readUInt8(at + 1) >> 4] ?? 0;
    const operands = { left: registers[to] ?? 0, right, value: program.readInt32LE(at + 4) >>> 0 };
    if (code === 0x95) return registers[0] ?? 0;
    const [assign, isTrue] = [assignments[code], tests[code]];
    if (code === 0x61) registers[to] = context[offset / 4] ?? 0;
    else if (assign !== undefined) registers[to] = assign(operands);
    else if (isTrue === undefined) assert.fail(`unknown instruction ${code.toString(16)}`);
    else if (isTrue(operands)) at += offset * 8;
  }
  return assert.fail("the program does not end");
}

/** cgroup-v1/devices: what the kernel's own controller answers. */
function decide({ allowByDefault, exceptions }: DevicePolicy, request: Request): boolean {
  const matches = exceptions.filter(
    ({ type, major, minor }) =>
      type === request.type && [-1, request.major].includes(major) && [-1, request.minor].includes(minor),
  );
  if (allowByDefault) return !matches.some(({ access }) => (access & request.access) !== 0);
  return matches.some(({ access }) => (access & request.access) === request.access);
}

const number = fc.constantFrom(-1, 0, 1, 2, 0xfffff);
const rule: fc.Arbitrary<DeviceRule> = fc.record({
  allow: fc.boolean(),
  type: fc.constantFrom("a", "b", "c", "u"),
  major: number,
  minor: number,
  access: fc.constantFrom("", "r", "w", "m", "rw", "rwm"),
});
const request: fc.Arbitrary<Request> = fc.record({
  type: fc.constantFrom("b", "c"),
  major: fc.constantFrom(0, 1, 2, 0xfffff),
  minor: fc.constantFrom(0, 1, 2, 0xfffff),
  access: fc.integer({ min: 1, max: 7 }),
});

test("the eBPF filter and the v1 controller agree on every rule set", () => {
  fc.assert(
    fc.property(fc.array(rule, { maxLength: 8 }), fc.array(request, { minLength: 5 }), (rules, requests) => {
      const policy = resolveDeviceRules(rules);
      const program = encodeDeviceFilter(policy);
      for (const one of requests) assert.equal(run(program, one), decide(policy, one) ? 1 : 0);
    }),
    { numRuns: 500 },
  );
});

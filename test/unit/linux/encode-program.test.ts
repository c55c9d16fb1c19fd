import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { describeReport, describeStep } from "../../../src/linux/describe-step.ts";
import { stepOp } from "../../../src/linux/encode-steps.ts";
import {
  adoptFlags,
  type Host,
  encodeProgram,
  maxLogLineBytesLimit,
  maxProgramBytes,
  programMagic,
  programVersion,
} from "../../../src/linux/encode-program.ts";
import type { LaunchProgram, Step } from "../../../src/linux/launch-program.ts";

const header = readFileSync(join(import.meta.dirname, "../../../pause/program.h"), "utf8");
const spawn: Host = { type: "spawn" };
const exec: Step = { op: "exec", argv: ["/bin/sh"], env: [] };
const fork: Step = { op: "fork", flags: 0 };
const monitor: Host = {
  type: "monitor",
  containerDir: 30,
  stdin: false,
  stdinOnce: false,
  maxLogLineBytes: 16_384,
  attachStallMs: 5000,
  logPath: "/log",
};

function defined(name: string): number {
  const match = new RegExp(`#define ${name} (.+?)U?(?:  //.*)?$`, "m").exec(header);
  const text = match![1]!.replace(/[()U]/g, "");
  const [value, shift] = text.split("<<").map(Number);
  return shift === undefined ? value! : value! << shift;
}

/** Reads a program as the C side does: header, options, steps. */
function readBack(bytes: Buffer): { host: number; optionsLength: number; steps: [number, number, Buffer][] } {
  assert.equal(bytes.readUInt32LE(0), programMagic);
  assert.equal(bytes.readUInt32LE(8), bytes.length);
  const optionsLength = bytes.readUInt32LE(32);
  const steps: [number, number, Buffer][] = [];
  let at = 36 + optionsLength;
  while (at < bytes.length) {
    const length = bytes.readUInt32LE(at + 4);
    steps.push([bytes.readUInt16LE(at), bytes.readUInt16LE(at + 2), bytes.subarray(at + 8, at + 8 + length)]);
    at += 8 + length;
  }
  assert.equal(at, bytes.length);
  assert.equal(bytes.readUInt32LE(16), steps.length);
  return { host: bytes.readUInt32LE(12), optionsLength, steps };
}

describe("encodeProgram()", () => {
  it("uses the numbers of pause/program.h", () => {
    const inC = Object.fromEntries(
      [...header.matchAll(/OP_(\w+) = (\d+)/g)].map(([, name, value]) => [
        name!.toLowerCase().replace(/_(\w)/g, (_match, letter: string) => letter.toUpperCase()),
        Number(value),
      ]),
    );
    delete inC["count"];
    assert.deepEqual({ ...stepOp }, inC);
    assert.equal(programMagic, defined("PROGRAM_MAGIC"));
    assert.equal(programVersion, defined("PROGRAM_VERSION"));
    assert.equal(maxProgramBytes, defined("PROGRAM_MAX_LENGTH"));
    assert.equal(maxLogLineBytesLimit, defined("MAX_LOG_LINE_BYTES"));
    assert.deepEqual(adoptFlags, { adopts: defined("HOST_ADOPTS"), console: defined("HOST_CONSOLE") });
  });

  it("frames each step with its length and the optional flag", () => {
    const steps: Step[] = [
      { op: "umask", mask: 0o22 },
      { op: "sethostname", name: "box", optional: true },
      { op: "exec", argv: ["a", "b"], env: [Buffer.from([0x58, 0x3d, 0xff])] },
    ];
    const back = readBack(encodeProgram({ steps }, spawn).bytes);
    assert.deepEqual(
      back.steps.map(([op, flags, payload]) => [op, flags, payload.toString("latin1")]),
      [
        [25, 0, "\x12\0\0\0"],
        [10, 1, "\x03\0\0\0box\0"],
        [40, 0, "\x02\0\0\0\x01\0\0\0a\0\x01\0\0\0b\0\x01\0\0\0\x03\0\0\0X=\xff\0"],
      ],
    );
  });

  it("gives each descriptor one place in the table, the host's first", () => {
    const steps: Step[] = [
      fork,
      { op: "joinNamespaces", fd: 12, mask: 0 },
      { op: "joinCgroup", files: [20, 12] },
      { op: "waitGate" },
      exec,
    ];
    const { bytes, table } = encodeProgram({ steps }, { ...monitor, killCgroup: 20 }, 40);
    assert.deepEqual(table, [30, 20, 40, 12]);
    assert.deepEqual([bytes.readUInt32LE(20), bytes.readUInt32LE(24), bytes.readUInt32LE(28)], [4, 2, 2]);
    const join = readBack(bytes).steps[1]![2];
    assert.equal(join.readUInt32LE(0), 3);
  });

  it("refuses strings with a NUL, numbers out of range and bad descriptors, naming the step", () => {
    const refused: [Step, RegExp][] = [
      [{ op: "sethostname", name: "a\0b" }, /^step 1 \(sethostname\): "a\\u0000b" contains a NUL$/],
      [
        { op: "setIds", uid: 2 ** 32, gid: 0 },
        /^step 1 \(setIds\): number 4294967296 is not in 0\.\.4294967295$/,
      ],
      [{ op: "umask", mask: 1.5 }, /number 1\.5/],
      [{ op: "rlimit", resource: 7, soft: -1n, hard: 1n }, /number -1 is not in 64 bits/],
      [{ op: "joinNamespaces", fd: -1, mask: 0 }, /descriptor -1 is not open/],
      [{ op: "exec", argv: [], env: [] }, /argv is empty/],
    ];
    for (const [step, message] of refused)
      assert.throws(() => encodeProgram({ steps: [step, exec] }, spawn), {
        code: "invalid-argument",
        message,
      });
  });

  it("refuses programs the hosts cannot run", () => {
    const refused: [Step[], Host, RegExp][] = [
      [[], spawn, /does not end with exec/],
      [[{ op: "umask", mask: 0 }], spawn, /does not end with exec/],
      [[{ op: "waitGate" }, exec], monitor, /no fork step/],
      [[fork, exec], monitor, /no waitGate step/],
      [[fork, { op: "waitGate" }, exec], spawn, /has a waitGate step/],
      [[{ op: "waitGate" }, fork, exec], monitor, /waitGate step before its fork/],
      [[fork, { op: "openPty", rows: 1, columns: 1, bindConsole: false }, exec], spawn, /openPty/],
    ];
    for (const [steps, host, message] of refused)
      assert.throws(() => encodeProgram({ steps }, host), { code: "invalid-argument", message });
    const gated = { steps: [fork, { op: "waitGate" } as const, exec] };
    assert.throws(() => encodeProgram(gated, { ...monitor, maxLogLineBytes: 0 }), /maxLogLineBytes 0/);
  });

  it("refuses more steps, descriptors or bytes than the C side takes (CVE-2021-43784)", () => {
    const many = (count: number): Step[] => Array.from({ length: count }, () => ({ op: "umask", mask: 0 }));
    assert.throws(() => encodeProgram({ steps: [...many(4096), exec] }, spawn), /with 4097 steps/);
    const files = Array.from({ length: 257 }, (_value, index) => index + 10);
    assert.throws(
      () => encodeProgram({ steps: [{ op: "joinCgroup", files }, exec] }, spawn),
      /256 descriptors/,
    );
    const long: Step = { op: "exec", argv: ["x".repeat(maxProgramBytes)], env: [] };
    assert.throws(() => encodeProgram({ steps: [long] }, spawn), /is too long/);
  });

  it("survives any strings and sizes", () => {
    const text = fc.string({ unit: "grapheme", maxLength: 100 }).map((value) => value.replaceAll("\0", ""));
    fc.assert(
      fc.property(fc.array(text, { minLength: 1 }), fc.array(fc.uint8Array()), (argv, blobs) => {
        const steps: Step[] = [
          ...argv.map((name): Step => ({ op: "writeProc", path: name, value: name })),
          ...blobs.map((mask): Step => ({ op: "cpuAffinity", mask })),
          { op: "exec", argv, env: [] },
        ];
        const back = readBack(encodeProgram({ steps }, spawn).bytes);
        assert.equal(back.steps.length, steps.length);
        const [, , payload] = back.steps[0]!;
        const length = payload.readUInt32LE(0);
        assert.equal(payload.toString("utf8", 4, 4 + length), argv[0]);
        assert.equal(payload[4 + length], 0);
      }),
    );
  });
});

describe("describeReport()", () => {
  const mount: Step = {
    op: "mountFs",
    type: "proc",
    options: [],
    attributes: 0,
    target: "/proc",
    create: "never",
  };
  const program: LaunchProgram = { steps: [fork, mount, exec] };

  it("names the step, the call, the errno and the place", () => {
    assert.equal(
      describeReport(program, { step: 1, errno: 1, call: "fsmount" }),
      "mount proc on /proc: fsmount: EPERM (step 2 of 3)",
    );
    assert.equal(
      describeReport(program, { step: 1, errno: 1, call: "" }),
      "mount proc on /proc: EPERM (step 2 of 3)",
    );
  });

  it("does without a step", () => {
    const noStep = 0xffffffff;
    assert.equal(
      describeReport(program, { step: noStep, errno: 2, call: "open the log" }),
      "open the log: ENOENT",
    );
    assert.equal(describeReport(undefined, { step: 2, errno: 2, call: "execve" }), "execve: ENOENT");
    assert.equal(describeReport(undefined, { step: 2, errno: 2, call: "" }), "launch: ENOENT");
  });

  it("describeStep() has a text for every kind", () => {
    assert.equal(describeStep(exec), "exec /bin/sh");
    assert.equal(describeStep({ op: "umask", mask: 0 }), "umask");
  });
});

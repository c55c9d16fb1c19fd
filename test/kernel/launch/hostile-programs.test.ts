// The executor does not trust its input: whatever bytes it gets, it refuses them in words and never crashes
// (CVE-2021-43784). It runs as nobody here, so that a mutated program can do no harm.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Duplex } from "node:stream";
import fc from "fast-check";
import { encodeProgram } from "../../../src/linux/encode-program.ts";
import { FrameReader, decodeReport, frameType } from "../../../src/linux/frames.ts";
import type { Step } from "../../../src/linux/launch-program.ts";
import { loadHelper } from "../../support/launch-fixture.ts";
import { requires } from "../../support/requires.ts";

const nobody = 65_534;
const EBADMSG = 74;
const headerBytes = 36;

interface Outcome {
  code: number | null;
  signal: string | null;
  failure: { step: number; errno: number; call: string } | undefined;
}

const steps: Step[] = [
  { op: "umask", mask: 0o22 },
  { op: "mkdirInRoot", path: "/nonexistent/a", mode: 0o700, uid: 1, gid: 1, optional: true },
  {
    op: "mountFs",
    type: "tmpfs",
    options: [
      ["size", "1"],
      ["ro", true],
    ],
    attributes: 0,
    target: "/",
    create: "auto",
    optional: true,
  },
  { op: "setGroups", groups: [1, 2, 3], optional: true },
  { op: "writeProc", path: "/proc/self/nothing", value: "x", optional: true },
  { op: "seccomp", filter: Buffer.alloc(16), flags: 0, optional: true },
  { op: "exec", argv: ["/nonexistent", "argument"], env: [Buffer.from("PATH=/nonexistent")] },
];

describe("hostile launch programs", requires("root"), () => {
  let directory: string;
  before(() => {
    loadHelper().close();
    directory = mkdtempSync(join(tmpdir(), "cricket-hostile-"));
    chmodSync(directory, 0o755);
    copyFileSync(join(import.meta.dirname, "../../../build/cricket-init"), join(directory, "init"));
  });
  after(() => rmSync(directory, { recursive: true }));

  function run(bytes: Buffer): Promise<Outcome> {
    const child = spawn(join(directory, "init"), [], {
      stdio: ["ignore", "ignore", "ignore", "pipe"],
      uid: nobody,
      gid: nobody,
      cwd: "/",
      timeout: 5_000,
      killSignal: "SIGKILL",
    });
    const reader = new FrameReader();
    let failure: Outcome["failure"];
    const control = child.stdio[3] as Duplex;
    control.on("error", () => {});
    control.end(bytes);
    control.on("data", (chunk: Buffer) => {
      for (const frame of reader.push(chunk)) {
        if (frame.type !== frameType.failed) continue;
        const { first: step, second: errno, text: call } = decodeReport(frame.payload);
        failure = { step, errno, call };
      }
    });
    return new Promise((resolve) => {
      child.once("close", (code, signal) => resolve({ code, signal, failure }));
    });
  }

  const valid = (): Buffer => {
    const encoded = encodeProgram({ steps }, { type: "spawn" });
    return Buffer.from(encoded.bytes);
  };
  const refused = { code: 1, signal: null };

  it("run as far as they are right", async () => {
    assert.deepEqual(await run(valid()), {
      ...refused,
      failure: { step: steps.length - 1, errno: 2, call: "execve" },
    });
  });

  it("are refused whole when a length in the header or of a step is wrong", async () => {
    const changes: [string, (bytes: Buffer) => Buffer | void][] = [
      ["cut header", (bytes) => bytes.subarray(0, headerBytes - 1)],
      ["cut end", (bytes) => bytes.subarray(0, bytes.length - 1)],
      ["magic", (bytes) => void bytes.writeUInt32LE(0, 0)],
      ["version", (bytes) => void bytes.writeUInt32LE(99, 4)],
      ["length", (bytes) => void bytes.writeUInt32LE(bytes.length + 4, 8)],
      ["host", (bytes) => void bytes.writeUInt32LE(77, 12)],
      ["step count", (bytes) => void bytes.writeUInt32LE(steps.length + 1, 16)],
      ["no steps", (bytes) => void bytes.writeUInt32LE(0, 16)],
      ["huge step count", (bytes) => void bytes.writeUInt32LE(0xffffffff, 16)],
      ["table count", (bytes) => void bytes.writeUInt32LE(0x7fffffff, 20)],
      ["table that did not come", (bytes) => void bytes.writeUInt32LE(1, 20)],
      ["host descriptors", (bytes) => void bytes.writeUInt32LE(1, 24)],
      ["channel", (bytes) => void bytes.writeUInt32LE(0, 28)],
      ["options length", (bytes) => void bytes.writeUInt32LE(0xfffffff0, 32)],
      ["op", (bytes) => void bytes.writeUInt16LE(999, headerBytes)],
      ["op 0", (bytes) => void bytes.writeUInt16LE(0, headerBytes)],
      ["step length", (bytes) => void bytes.writeUInt32LE(0xffffffff, headerBytes + 4)],
    ];
    for (const [what, change] of changes) {
      const bytes = valid();
      const outcome = await run(change(bytes) ?? bytes);
      assert.deepEqual([outcome.code, outcome.failure?.errno], [1, EBADMSG], what);
    }
  });

  it("are refused at the step whose strings or blobs do not fit their length", async () => {
    const bytes = valid();
    const path = bytes.indexOf("/nonexistent/a");
    for (const change of [
      (copy: Buffer): void => void copy.writeUInt32LE(0xffffffff, path - 4),
      (copy: Buffer): void => void copy.writeUInt32LE(3, path - 4),
      (copy: Buffer): void => void copy.writeUInt8(0, path + 2),
    ]) {
      const copy = Buffer.from(bytes);
      change(copy);
      // The second step is optional: its failure must not stop the rest, which is right.
      assert.equal((await run(copy)).failure?.call, "execve");
      // Clear its flag, and it is the one that stops.
      copy.writeUInt16LE(0, path - 4 - 6);
      const outcome = await run(copy);
      assert.deepEqual([outcome.failure?.step, outcome.failure?.errno], [1, EBADMSG]);
    }
  });

  it("never crash it, whatever bytes are changed", async () => {
    const base = valid();
    const change = fc.record({ at: fc.nat(base.length - 1), value: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), async (changes) => {
        const bytes = Buffer.from(base);
        for (const { at, value } of changes) bytes[at] = value;
        const { code, signal } = await run(bytes);
        // 31 is SIGSYS: a mutated filter may have been installed after all.
        assert.ok(signal === null || signal === "SIGSYS", `ended by ${signal}`);
        assert.equal(code ?? 1, 1);
      }),
      { numRuns: 300 },
    );
  });
});

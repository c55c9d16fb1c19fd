import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  FrameReader,
  attachFlag,
  decodeExited,
  decodeHello,
  decodeNumber,
  decodeReport,
  encodeFrame,
  encodeNumbers,
  frameType,
  maxFramePayloadBytes,
} from "../../../src/linux/frames.ts";

const header = readFileSync(join(import.meta.dirname, "../../../pause/program.h"), "utf8");

/** `FRAME_REOPEN_LOG = 33` of the C side as ["reopenLog", 33]. */
function constantsOf(prefix: string, assignment: RegExp): Record<string, number> {
  const found = [...header.matchAll(assignment)].filter(([, name]) => name!.startsWith(prefix));
  return Object.fromEntries(
    found.map(([, name, value]) => [
      name!
        .slice(prefix.length)
        .toLowerCase()
        .replace(/_(\w)/g, (_match, letter: string) => letter.toUpperCase()),
      Number(value),
    ]),
  );
}

describe("frames", () => {
  it("have the types and flags of pause/program.h", () => {
    const inC = constantsOf("FRAME_", /(FRAME_\w+) = (\d+)/g);
    for (const [name, value] of Object.entries(frameType)) assert.equal(value, inC[name], name);
    assert.deepEqual({ ...attachFlag }, constantsOf("ATTACH_", /#define (ATTACH_\w+) (\d+)U/g));
    assert.equal(
      maxFramePayloadBytes,
      constantsOf("FRAME_MAX_", /#define (FRAME_MAX_\w+) (\d+)U/g)["payload"],
    );
  });

  it("FrameReader finds the same frames however the stream is cut", () => {
    const frame = fc.record({ type: fc.nat(255), payload: fc.uint8Array({ maxLength: 300 }) });
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 20 }), fc.array(fc.nat(50)), (frames, cuts) => {
        const bytes = Buffer.concat(frames.map(({ type, payload }) => encodeFrame(type, payload)));
        const reader = new FrameReader();
        const seen = [];
        let at = 0;
        for (const cut of [...cuts, bytes.length]) {
          seen.push(...reader.push(bytes.subarray(at, at + cut)));
          at = Math.min(at + cut, bytes.length);
        }
        assert.deepEqual(
          seen.map(({ type, payload }) => ({ type, payload: Uint8Array.from(payload) })),
          frames.map(({ type, payload }) => ({ type, payload: Uint8Array.from(payload) })),
        );
      }),
    );
  });

  it("FrameReader refuses a frame that is longer than any", () => {
    const bytes = encodeFrame(1);
    bytes.writeUInt32LE(maxFramePayloadBytes + 1, 4);
    assert.throws(() => new FrameReader().push(bytes), { code: "internal" });
    assert.throws(() => encodeFrame(1, Buffer.alloc(maxFramePayloadBytes + 1)), RangeError);
  });

  it("decoders read what C writes and refuse other lengths", () => {
    const exited = Buffer.alloc(32);
    exited.writeUInt32LE(137, 0);
    exited.writeUInt32LE(9, 4);
    exited.writeUInt32LE(1, 8);
    exited.writeBigInt64LE(1_795_317_206_575_745_891n, 16);
    exited.writeBigUInt64LE(3n, 24);
    assert.deepEqual(decodeExited(exited), {
      exitCode: 137,
      signal: 9,
      timedOut: true,
      finishedAtNs: 1_795_317_206_575_745_891n,
      oomKills: 3n,
    });
    const hello = Buffer.alloc(16);
    hello.writeUInt32LE(77, 0);
    hello.writeUInt32LE(3, 4);
    hello.writeBigUInt64LE(99n, 8);
    assert.deepEqual(decodeHello(hello), { pid: 77, started: true, tty: true, stdin: false, startTime: 99n });
    assert.deepEqual(decodeReport(Buffer.concat([encodeNumbers(4, 5), Buffer.from("mount")])), {
      first: 4,
      second: 5,
      text: "mount",
    });
    const short = Buffer.alloc(3);
    for (const decode of [decodeExited, decodeHello, decodeReport, decodeNumber])
      assert.throws(() => decode(short), { code: "internal" });
  });
});

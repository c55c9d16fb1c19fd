import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { CricketError } from "../../../src/base/errors.ts";
import {
  FrameReader,
  attachFlag,
  decodeExited,
  decodeHello,
  decodeNumber,
  decodeReport,
  encodeNumbers,
  frameType,
  maxFramePayloadBytes,
} from "../../../src/linux/frames.ts";
import { encodeFrame } from "../../support/encode-frame.ts";

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

/** Pieces of output put together; frames without bytes among it are nothing. */
function joinOutput(frames: readonly { type: number; payload: Uint8Array }[]): [number, string][] {
  const joined: [number, string][] = [];
  for (const { type, payload } of frames) {
    const isOutput = type === frameType.stdout || type === frameType.stderr;
    const text = Buffer.from(payload).toString("latin1");
    const last = joined.at(-1);
    if (isOutput && text === "") continue;
    if (isOutput && last?.[0] === type) last[1] += text;
    else joined.push([type, text]);
  }
  return joined;
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
        assert.deepEqual(joinOutput(seen), joinOutput(frames));
      }),
    );
  });

  it("FrameReader passes output on before its frame is whole, and nothing else", () => {
    const reader = new FrameReader();
    const output = encodeFrame(frameType.stdout, Buffer.from("output"));
    assert.deepEqual(
      reader.push(output.subarray(0, 11)).map(({ payload }) => payload.toString()),
      ["out"],
    );
    const rest = Buffer.concat([output.subarray(11), encodeFrame(frameType.hello, Buffer.alloc(16))]);
    assert.deepEqual(
      reader.push(rest.subarray(0, rest.length - 1)).map(({ payload }) => payload.toString()),
      ["put"],
    );
    assert.deepEqual(
      reader.push(rest.subarray(rest.length - 1)).map(({ type, payload }) => [type, payload.length]),
      [[frameType.hello, 16]],
    );
  });

  it("FrameReader throws nothing but CricketError for any bytes, and keeps little of them", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 20 }), (chunks) => {
        const reader = new FrameReader();
        try {
          for (const chunk of chunks) reader.push(Buffer.from(chunk));
        } catch (error) {
          assert.ok(error instanceof CricketError, String(error));
        }
      }),
    );
  });

  it("decoders throw nothing but CricketError for any payload", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        for (const decode of [decodeExited, decodeHello, decodeReport, decodeNumber]) {
          try {
            decode(Buffer.from(bytes));
          } catch (error) {
            assert.ok(error instanceof CricketError, String(error));
          }
        }
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

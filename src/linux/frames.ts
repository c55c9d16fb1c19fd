// Frames of the control sockets (pause/program.h): one byte type, three zero bytes, a little-endian u32 length, payload.
import { CricketError } from "../base/errors.ts";

export const frameType = {
  warning: 1,
  failed: 2,
  forked: 3,
  executing: 4,
  hello: 5,
  started: 6,
  exited: 7,
  stdout: 8,
  stderr: 9,
  reopened: 10,
  resized: 11,
  attached: 12,
  sync: 13,
  listener: 14,
  atGate: 18,
  start: 32,
  reopenLog: 33,
  resize: 34,
  attach: 35,
  stdin: 36,
  stdinEof: 37,
  kill: 38,
  synced: 39,
} as const;

export const attachFlag = { stdin: 1, stdout: 2, stderr: 4, waits: 8 } as const;

export interface Frame {
  type: number;
  payload: Buffer;
}

const headerBytes = 8;
/** The longest payload either side sends; anything longer means the stream is not what it should be. */
export const maxFramePayloadBytes = 65_536;

/** What goes before a payload of `length` bytes. Throws RangeError for one longer than maxFramePayloadBytes. */
export function encodeFrameHead(type: number, length: number): Buffer {
  if (length > maxFramePayloadBytes) throw new RangeError(`frame of ${length} bytes is too long`);
  const head = Buffer.allocUnsafe(headerBytes);
  head.writeUInt32LE(type, 0);
  head.writeUInt32LE(length, 4);
  return head;
}

/** A payload of u32 numbers. */
export function encodeNumbers(...numbers: number[]): Buffer {
  const bytes = Buffer.allocUnsafe(4 * numbers.length);
  numbers.forEach((number, index) => bytes.writeUInt32LE(number, 4 * index));
  return bytes;
}

/**
 * Cuts a byte stream into frames, however it was chopped. Output comes in pieces as it arrives: a frame of it may become
 * several, so that none of it is copied; payloads are parts of the chunks.
 */
export class FrameReader {
  #pending: Buffer = Buffer.alloc(0);
  /** The output frame that has not come whole. */
  #open = { type: 0, missing: 0 };

  /** The frames that are complete with `chunk`. Throws CricketError "internal" when the stream cannot be frames. */
  push(chunk: Buffer): Frame[] {
    let bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    const frames: Frame[] = [];
    for (;;) {
      if (this.#open.missing > 0) bytes = this.#continueOutput(bytes, frames);
      if (bytes.length < headerBytes) break;
      const length = bytes.readUInt32LE(4);
      if (length > maxFramePayloadBytes)
        throw new CricketError("internal", `control socket: frame of ${length} bytes`);
      const type = bytes.readUInt32LE(0);
      if (isOutput(type)) {
        this.#open = { type, missing: length };
        bytes = bytes.subarray(headerBytes);
        continue;
      }
      if (bytes.length < headerBytes + length) break;
      frames.push({ type, payload: bytes.subarray(headerBytes, headerBytes + length) });
      bytes = bytes.subarray(headerBytes + length);
    }
    this.#pending = bytes;
    return frames;
  }

  #continueOutput(bytes: Buffer, frames: Frame[]): Buffer {
    const payload = bytes.subarray(0, this.#open.missing);
    if (payload.length === 0) return bytes;
    this.#open.missing -= payload.length;
    frames.push({ type: this.#open.type, payload });
    return bytes.subarray(payload.length);
  }
}

function isOutput(type: number): boolean {
  return type === frameType.stdout || type === frameType.stderr;
}

/** How a process ended, as the helper saw it. */
export interface ExitedFrame {
  exitCode: number;
  signal: number;
  timedOut: boolean;
  finishedAtNs: bigint;
  oomKills: bigint;
}

const exitedBytes = 32;

export function decodeExited(payload: Buffer): ExitedFrame {
  if (payload.length !== exitedBytes) throw malformed("exited");
  return {
    exitCode: payload.readUInt32LE(0),
    signal: payload.readUInt32LE(4),
    timedOut: (payload.readUInt32LE(8) & 1) !== 0,
    finishedAtNs: payload.readBigInt64LE(16),
    oomKills: payload.readBigUInt64LE(24),
  };
}

export interface HelloFrame {
  pid: number;
  started: boolean;
  tty: boolean;
  stdin: boolean;
  startTime: bigint;
}

export function decodeHello(payload: Buffer): HelloFrame {
  if (payload.length !== 16) throw malformed("hello");
  const flags = payload.readUInt32LE(4);
  return {
    pid: payload.readUInt32LE(0),
    started: (flags & 1) !== 0,
    tty: (flags & 2) !== 0,
    stdin: (flags & 4) !== 0,
    startTime: payload.readBigUInt64LE(8),
  };
}

/** Two numbers and a text: a warning or failure (step, errno), or the answer to start (errno, step). */
export function decodeReport(payload: Buffer): { first: number; second: number; text: string } {
  if (payload.length < 8) throw malformed("report");
  return {
    first: payload.readUInt32LE(0),
    second: payload.readUInt32LE(4),
    text: payload.toString("utf8", 8),
  };
}

export function decodeNumber(payload: Buffer): number {
  if (payload.length !== 4) throw malformed("number");
  return payload.readUInt32LE(0);
}

function malformed(name: string): CricketError {
  return new CricketError("internal", `control socket: malformed ${name} frame`);
}

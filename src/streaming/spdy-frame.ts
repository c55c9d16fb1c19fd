// Frames of SPDY/3.1 (draft-mbelshe-httpbis-spdy-00, section 2.2): cut out of a byte stream, and put together.
import { CricketError } from "../base/errors.ts";

export const spdyFrameType = {
  synStream: 1,
  synReply: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  headers: 8,
  windowUpdate: 9,
} as const;

export const spdyFlag = { fin: 1, unidirectional: 2 } as const;

/** Status codes of RST_STREAM. */
export const resetStatus = { protocolError: 1, refusedStream: 3, cancel: 5, internalError: 6 } as const;

const version = 3;
const headerBytes = 8;
/** Control frames are taken whole; the largest are header blocks, of which every client here sends a few words. */
const maxControlBytes = 65_536;
/** The length field of a frame has 24 bits. */
export const maxDataBytes = 0xffffff;

export type SpdyFrame =
  /** A part of a DATA frame: `fin` comes with the last one only. A frame of any length is never held whole. */
  | { kind: "data"; streamId: number; payload: Buffer; fin: boolean }
  | { kind: "control"; type: number; flags: number; body: Buffer };

interface DataInProgress {
  streamId: number;
  missing: number;
  fin: boolean;
}

/** Cuts a byte stream into frames, however it was chopped. */
export class SpdyFrameReader {
  #pending: Buffer = Buffer.alloc(0);
  #data: DataInProgress | undefined;

  /**
   * The frames that `chunk` completes, one by one, so that the caller can wait in between. Each must be taken before
   * the next chunk is given.
   * @throws CricketError invalid-argument when these bytes cannot be SPDY/3
   */
  *read(chunk: Buffer): Generator<SpdyFrame> {
    let bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    for (;;) {
      const taken = this.#data === undefined ? this.#beginFrame(bytes) : this.#continueData(bytes);
      if (taken === undefined) break;
      bytes = bytes.subarray(taken.length);
      if (taken.frame !== undefined) yield taken.frame;
    }
    // A copy: the rest is a part of a read buffer that would stay alive for a few bytes.
    this.#pending = Buffer.from(bytes);
  }

  #beginFrame(bytes: Buffer): { length: number; frame?: SpdyFrame } | undefined {
    if (bytes.length < headerBytes) return undefined;
    const flags = bytes.readUInt8(4);
    const length = bytes.readUIntBE(5, 3);
    if ((bytes.readUInt8(0) & 0x80) !== 0) return takeControl(bytes, flags, length);
    const streamId = bytes.readUInt32BE(0);
    const fin = (flags & spdyFlag.fin) !== 0;
    if (length === 0)
      return { length: headerBytes, frame: { kind: "data", streamId, payload: Buffer.alloc(0), fin } };
    this.#data = { streamId, missing: length, fin };
    return { length: headerBytes };
  }

  #continueData(bytes: Buffer): { length: number; frame: SpdyFrame } | undefined {
    if (bytes.length === 0 || this.#data === undefined) return undefined;
    const { streamId, missing, fin } = this.#data;
    const payload = bytes.subarray(0, missing);
    const left = missing - payload.length;
    this.#data = left === 0 ? undefined : { streamId, missing: left, fin };
    return { length: payload.length, frame: { kind: "data", streamId, payload, fin: fin && left === 0 } };
  }
}

function takeControl(
  bytes: Buffer,
  flags: number,
  length: number,
): { length: number; frame: SpdyFrame } | undefined {
  const spoken = bytes.readUInt16BE(0) & 0x7fff;
  if (spoken !== version) throw malformed(`version ${spoken}`);
  if (length > maxControlBytes) throw malformed(`a control frame of ${length} bytes`);
  if (bytes.length < headerBytes + length) return undefined;
  const body = bytes.subarray(headerBytes, headerBytes + length);
  return {
    length: headerBytes + length,
    frame: { kind: "control", type: bytes.readUInt16BE(2), flags, body },
  };
}

export function malformed(what: string): CricketError {
  return new CricketError("invalid-argument", `spdy: ${what}`);
}

/** The number at `at` of a control frame's body. @throws CricketError invalid-argument when the body is too short */
export function bodyNumber(body: Buffer, at: number, name: string): number {
  if (body.length < at + 4) throw malformed(`a ${name} frame of ${body.length} bytes`);
  return body.readUInt32BE(at);
}

/** The head of a DATA frame; its `length` bytes follow. */
export function encodeDataHead(streamId: number, length: number, fin: boolean): Buffer {
  const head = Buffer.allocUnsafe(headerBytes);
  head.writeUInt32BE(streamId, 0);
  head.writeUInt32BE(length, 4);
  head.writeUInt8(fin ? spdyFlag.fin : 0, 4);
  return head;
}

export interface ControlFrame {
  type: number;
  flags?: number;
  /** 32-bit fields at the beginning of the body. */
  numbers?: readonly number[];
  /** The rest of the body. */
  rest?: Buffer;
}

export function encodeControl({ type, flags = 0, numbers = [], rest }: ControlFrame): Buffer {
  const length = numbers.length * 4 + (rest?.length ?? 0);
  const frame = Buffer.allocUnsafe(headerBytes + length);
  frame.writeUInt16BE(0x8000 | version, 0);
  frame.writeUInt16BE(type, 2);
  frame.writeUInt32BE(length, 4);
  frame.writeUInt8(flags, 4);
  numbers.forEach((number, index) => frame.writeUInt32BE(number >>> 0, headerBytes + 4 * index));
  rest?.copy(frame, headerBytes + 4 * numbers.length);
  return frame;
}

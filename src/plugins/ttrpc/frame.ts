// Frames of ttrpc: length, stream, type and flags in ten bytes, big-endian, then the message.
import { CricketError } from "../../base/errors.ts";

export const frameHeaderBytes = 10;
/** The most that both sides of ttrpc take. */
export const maxMessageBytes = 4 * 1024 * 1024;

export const frameType = { request: 1, response: 2, data: 3 } as const;

export interface TtrpcFrame {
  streamId: number;
  type: number;
  flags: number;
  message: Buffer;
}

/** @throws CricketError resource-exhausted for a message the other side would refuse */
export function encodeFrame(streamId: number, type: number, message: Uint8Array): Buffer {
  if (message.length > maxMessageBytes)
    throw new CricketError(
      "resource-exhausted",
      `a message of ${message.length} bytes is too long for ttrpc`,
    );
  const frame = Buffer.allocUnsafe(frameHeaderBytes + message.length);
  frame.writeUInt32BE(message.length, 0);
  frame.writeUInt32BE(streamId, 4);
  frame.writeUInt8(type, 8);
  frame.writeUInt8(0, 9);
  frame.set(message, frameHeaderBytes);
  return frame;
}

/** Bytes in pieces of any size, taken out in pieces that are asked for. */
export class ByteQueue {
  #chunks: Buffer[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** The first bytes, which stay; there must be as many. */
  peek(length: number): Buffer {
    const [first] = this.#chunks;
    if (first !== undefined && first.length >= length) return first.subarray(0, length);
    const whole = Buffer.concat(this.#chunks);
    this.#chunks = [whole];
    return whole.subarray(0, length);
  }

  /** The first bytes, which go; there must be as many. */
  take(length: number): Buffer {
    if (length === 0) return Buffer.alloc(0);
    const taken = this.peek(length);
    const first = this.#chunks.shift()!;
    if (first.length > length) this.#chunks.unshift(first.subarray(length));
    this.#length -= length;
    return taken;
  }
}

/** Takes frames out of a stream of bytes. */
export class FrameReader {
  readonly #queue = new ByteQueue();

  /** @throws CricketError invalid-argument for a length beyond the limit: nothing after it can be understood */
  push(chunk: Buffer): TtrpcFrame[] {
    this.#queue.push(chunk);
    const frames: TtrpcFrame[] = [];
    while (this.#queue.length >= frameHeaderBytes) {
      const header = this.#queue.peek(frameHeaderBytes);
      const length = header.readUInt32BE(0);
      if (length > maxMessageBytes)
        throw new CricketError("invalid-argument", `ttrpc frame of ${length} bytes: too long`);
      if (this.#queue.length < frameHeaderBytes + length) break;
      const [streamId, type, flags] = [header.readUInt32BE(4), header.readUInt8(8), header.readUInt8(9)];
      this.#queue.take(frameHeaderBytes);
      frames.push({ streamId, type, flags, message: this.#queue.take(length) });
    }
    return frames;
  }
}

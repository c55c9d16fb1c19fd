// A frame of the control sockets as one buffer, for tests that speak for the other side.
import { encodeFrameHead } from "../../src/linux/frames.ts";

/** Throws RangeError for a payload longer than any frame's. */
export function encodeFrame(type: number, payload: Uint8Array = new Uint8Array(0)): Buffer {
  return Buffer.concat([encodeFrameHead(type, payload.length), payload]);
}

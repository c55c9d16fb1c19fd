// What the unpack pool and its worker threads say to each other. `job` numbers the layers under way.
import type { ErrorCode } from "../base/errors.ts";
import type { UnpackRequest, UnpackResult } from "./unpack-stream.ts";

/** The size of the buffers that carry a layer to a worker; they travel to and fro by transfer. */
export const transferBytes = 256 * 1024;

/** How many of them a layer has: the bound of what waits between the socket and the disk. */
export const transferBuffers = 4;

export type ToUnpackWorker =
  | { kind: "start"; job: number; request: UnpackRequest }
  | { kind: "chunk"; job: number; buffer: ArrayBuffer; length: number }
  | { kind: "end"; job: number }
  | { kind: "abort"; job: number };

export type FromUnpackWorker =
  /** A buffer comes back to be filled again. */
  | { kind: "used"; job: number; buffer: ArrayBuffer }
  | { kind: "done"; job: number; result: UnpackResult }
  | { kind: "failed"; job: number; code: ErrorCode; message: string };

// Calls to the other side of a ttrpc connection.
import { CricketError } from "../../base/errors.ts";
import { v1 } from "../../../cri-api/ttrpc/v1/api.js";
import { toInt64 } from "../../../cri-api/int64.ts";
import { encodeFrame, FrameReader, frameType } from "./frame.ts";
import type { Channel } from "./multiplexer.ts";
import { RemoteError } from "./status.ts";

interface PendingCall {
  resolve(payload: Uint8Array): void;
  reject(error: Error): void;
}

export class TtrpcClient {
  readonly #calls = new Map<number, PendingCall>();
  readonly #frames = new FrameReader();
  readonly #service: string;
  #channel: Channel | undefined;
  // Streams of a client have odd numbers, which only grow.
  #nextId = 1;
  #failure: Error | undefined;

  constructor(service: string) {
    this.#service = service;
  }

  attach(channel: Channel): void {
    this.#channel = channel;
  }

  /** Takes what arrived on the connection. @throws CricketError for what is not ttrpc */
  receive(bytes: Buffer): void {
    for (const { streamId, type, message } of this.#frames.push(bytes)) {
      const call = this.#calls.get(streamId);
      // An answer that comes too late, or data for a stream: no call of ours is one.
      if (type !== frameType.response || call === undefined) continue;
      this.#calls.delete(streamId);
      const { status, payload } = decodeResponse(message);
      if (status !== undefined && status !== null && status.code !== 0)
        call.reject(new RemoteError(status.code, status.message));
      else call.resolve(payload);
    }
  }

  /**
   * The payload of the answer.
   * @throws RemoteError for an error of the other side; CricketError deadline-exceeded, or why the connection ended
   */
  call(method: string, payload: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const { promise, resolve, reject } = deferred<Uint8Array>();
    if (this.#failure !== undefined) {
      reject(this.#failure);
      return promise;
    }
    const id = this.#nextId;
    this.#nextId += 2;
    const timer = setTimeout(() => {
      this.#calls.delete(id);
      reject(new CricketError("deadline-exceeded", `no answer to ${method} after ${timeoutMs} ms`));
    }, timeoutMs);
    this.#calls.set(id, {
      resolve: (answer) => {
        clearTimeout(timer);
        resolve(answer);
      },
      reject: (error) => {
        clearTimeout(timer);
        reject(error);
      },
    });
    this.#send(id, method, payload, timeoutMs);
    return promise;
  }

  #send(id: number, method: string, payload: Uint8Array, timeoutMs: number): void {
    const request = {
      service: this.#service,
      method,
      payload,
      timeoutNano: toInt64(BigInt(timeoutMs) * 1_000_000n),
    };
    try {
      this.#channel?.send(encodeFrame(id, frameType.request, v1.Request.encode(request).finish()));
    } catch (error) {
      const call = this.#calls.get(id);
      this.#calls.delete(id);
      call?.reject(error as Error);
    }
  }

  /** All calls, under way and to come, fail with `reason`. */
  close(reason: Error): void {
    this.#failure ??= reason;
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) call.reject(this.#failure);
  }
}

function decodeResponse(message: Buffer): v1.Response {
  try {
    return v1.Response.decode(message);
  } catch (error) {
    throw new CricketError("invalid-argument", "ttrpc response cannot be decoded", { cause: error });
  }
}

interface Deferred<T> {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (error: Error) => void;
}

function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}

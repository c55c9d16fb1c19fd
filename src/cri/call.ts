// The wrapper around every RPC: cancellation, log, and the one place where errors become gRPC statuses.
import {
  status as grpcStatus,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type ServerErrorResponse,
  type ServerUnaryCall,
  type ServerWritableStream,
} from "@grpc/grpc-js";
import { CricketError, invalidArgument, messageOf, type ErrorCode } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { stackOf } from "../base/stack-trace.ts";
import type { AnyRpc, RequestOf, ResponseSentOf } from "../../cri-api/services.ts";

/** What a handler knows about its call beside the request. */
export interface Call {
  /**
   * Aborted with a CricketError "cancelled" or "deadline-exceeded" when nobody waits for the answer any more. Work
   * that makes something does not stop half-way for it: the caller's retry joins or finds it.
   */
  readonly signal: AbortSignal;
}

export type UnaryHandler<R> = (
  request: RequestOf<R>,
  call: Call,
) => ResponseSentOf<R> | Promise<ResponseSentOf<R>>;

/** Ends when the iterable ends; the iterable is left when the client goes. */
export type StreamHandler<R> = (request: RequestOf<R>, call: Call) => AsyncIterable<ResponseSentOf<R>>;

/** A request whose bytes are no message of the expected type; thrown as invalid-argument by the wrapper. */
export class MalformedRequest {
  readonly reason: string;

  constructor(error: unknown) {
    this.reason = messageOf(error);
  }
}

const statusOfCode: Record<ErrorCode, number> = {
  "invalid-argument": grpcStatus.INVALID_ARGUMENT,
  "not-found": grpcStatus.NOT_FOUND,
  "already-exists": grpcStatus.ALREADY_EXISTS,
  "failed-precondition": grpcStatus.FAILED_PRECONDITION,
  unavailable: grpcStatus.UNAVAILABLE,
  "deadline-exceeded": grpcStatus.DEADLINE_EXCEEDED,
  cancelled: grpcStatus.CANCELLED,
  "resource-exhausted": grpcStatus.RESOURCE_EXHAUSTED,
  "permission-denied": grpcStatus.PERMISSION_DENIED,
  unimplemented: grpcStatus.UNIMPLEMENTED,
  // The kubelet strips the status from the text only when it is UNKNOWN, and then reads its prefix
  // (RegistryUnavailable, SignatureValidationFailed).
  unknown: grpcStatus.UNKNOWN,
  internal: grpcStatus.INTERNAL,
};

/** What the wrapper needs of the daemon. */
export interface CallParts {
  log: Log;
  /** A call that takes longer is logged while it goes on. */
  longCallMs: number;
}

export function wrapUnary<R extends AnyRpc>(
  name: string,
  handler: UnaryHandler<R>,
  parts: CallParts,
): handleUnaryCall<RequestOf<R> | MalformedRequest, ResponseSentOf<R>> {
  const isWatched = !isLongByNature(name);
  return (serverCall, callback) => {
    const call = new ServedCall(name, serverCall, parts.log);
    const stopWatching = isWatched ? call.watch(parts.longCallMs) : () => {};
    void call
      .run(
        async () => {
          const response = await handler(wellFormed<R>(serverCall.request), call);
          return () => callback(null, response);
        },
        (failure) => callback(failure),
      )
      .then(stopWatching);
  };
}

export function wrapStream<R extends AnyRpc>(
  name: string,
  handler: StreamHandler<R>,
  { log }: CallParts,
): handleServerStreamingCall<RequestOf<R> | MalformedRequest, ResponseSentOf<R>> {
  return (serverCall) => {
    const call = new ServedCall(name, serverCall, log);
    void call.run(
      async () => {
        await sendAll(serverCall, handler, call);
        return () => serverCall.end();
      },
      (failure) => serverCall.emit("error", failure),
    );
  };
}

/** These last as long as the caller wants, or as a registry does. */
function isLongByNature(name: string): boolean {
  return ["ExecSync", "PullImage", "StopContainer", "WaitContainer", "CheckpointContainer"].includes(name);
}

async function sendAll<R extends AnyRpc>(
  stream: ServerWritableStream<RequestOf<R> | MalformedRequest, ResponseSentOf<R>>,
  handler: StreamHandler<R>,
  call: ServedCall,
): Promise<void> {
  for await (const message of handler(wellFormed<R>(stream.request), call)) {
    call.signal.throwIfAborted();
    if (!stream.write(message)) await drained(stream, call.signal);
  }
}

// A client that does not read must not make the daemon collect its messages in memory.
function drained(stream: NodeJS.EventEmitter, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onDrain = (): void => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    };
    const onAbort = (): void => {
      stream.removeListener("drain", onDrain);
      reject(signal.reason as Error);
    };
    if (signal.aborted) return onAbort();
    stream.once("drain", onDrain);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

function wellFormed<R extends AnyRpc>(request: RequestOf<R> | MalformedRequest): RequestOf<R> {
  if (request instanceof MalformedRequest)
    throw invalidArgument(`the request cannot be decoded: ${request.reason}`);
  return request;
}

// Timers may fire a little before the clock of Date.now() gets there.
const timerSlackMs = 2;

type AnyServerCall = ServerUnaryCall<unknown, unknown> | ServerWritableStream<unknown, unknown>;

class ServedCall implements Call {
  readonly #name: string;
  readonly #log: Log;
  readonly #startedMs = performance.now();
  // Most handlers never ask for the signal, and with its controller it costs more than a small answer.
  #controller: AbortController | undefined;
  #cancelled: CricketError | undefined;
  #isAnswered = false;

  constructor(name: string, serverCall: AnyServerCall, log: Log) {
    this.#name = name;
    this.#log = log;
    const deadline = serverCall.getDeadline();
    serverCall.once("cancelled", () => this.#cancel(Number(deadline) - Date.now() < timerSlackMs));
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#cancelled !== undefined) this.#controller.abort(this.#cancelled);
    return this.#controller.signal;
  }

  /**
   * Says once that the call is still under way: what hangs in the kernel never fails, and nobody would read of it
   * (containerd#13867). Returns the end of that.
   */
  watch(afterMs: number): () => void {
    const timer = setTimeout(() => {
      this.#log.warn("call takes long", { rpc: this.#name, durationMs: this.#durationMs() });
    }, afterMs);
    timer.unref();
    return () => clearTimeout(timer);
  }

  /** Comes at the deadline and when the client goes away, but also after a normal end. */
  #cancel(expired: boolean): void {
    if (this.#isAnswered) return;
    this.#cancelled = expired
      ? new CricketError("deadline-exceeded", `${this.#name}: the caller's deadline has passed`)
      : new CricketError("cancelled", `${this.#name}: the caller has gone`);
    this.#controller?.abort(this.#cancelled);
  }

  /** Runs the handler and sends its answer or its failure; never rejects. */
  async run(
    work: () => Promise<() => void>,
    sendFailure: (failure: ServerErrorResponse) => void,
  ): Promise<void> {
    let sendAnswer: () => void;
    try {
      sendAnswer = await work();
    } catch (error) {
      this.#isAnswered = true;
      sendFailure(this.#fail(error));
      return;
    }
    this.#isAnswered = true;
    this.#log.debug("call", { rpc: this.#name, durationMs: this.#durationMs() });
    sendAnswer();
  }

  /** Logs the error, once for the whole way up, and translates it. */
  #fail(error: unknown): ServerErrorResponse {
    const code = error instanceof CricketError ? error.code : "internal";
    const fields = { rpc: this.#name, code, durationMs: this.#durationMs(), error: messageOf(error) };
    if (!(error instanceof CricketError))
      this.#log.error("call failed with an unexpected error", { ...fields, stack: stackOf(error) });
    else if (code === "internal" || code === "unknown") this.#log.warn("call failed", fields);
    else if (code === "not-found" || code === "cancelled" || code === "unimplemented")
      this.#log.debug("call failed", fields);
    else this.#log.info("call failed", fields);
    const details = asTrailer(messageOf(error));
    return { name: "Error", message: details, details, code: statusOfCode[code] };
  }

  #durationMs(): number {
    return Math.round((performance.now() - this.#startedMs) * 1000) / 1000;
  }
}

// The message travels in an HTTP/2 trailer, whose size clients limit; half a surrogate pair cannot be encoded there.
const maxDetailsLength = 4096;

function asTrailer(message: string): string {
  const cut = message.length <= maxDetailsLength ? message : `${message.slice(0, maxDetailsLength)}...`;
  return Buffer.from(cut).toString();
}

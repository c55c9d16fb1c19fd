// port-forward over SPDY (portforward.k8s.io): streams come in pairs with the headers `port`, `requestid` and
// `streamtype` (data or error), as many pairs as the client has connections.
import type { Duplex } from "node:stream";
import { forwardPort, parsePort, type DialPort } from "./forward-ports.ts";
import { SpdyConnection } from "./spdy-connection.ts";
import type { SpdyStream } from "./spdy-stream.ts";

export const spdyForwardProtocol = "portforward.k8s.io";

export interface SpdyForwardOptions {
  dial: DialPort;
  /** How long the second stream of a pair may take. */
  creationTimeoutMs: number;
}

/** Resolves when the client has gone. */
export function serveSpdyForward(transport: Duplex, options: SpdyForwardOptions): Promise<void> {
  const pairs = new StreamPairs(options);
  const connection = new SpdyConnection(transport, {
    role: "server",
    onStream: (stream) => pairs.add(stream),
  });
  return new Promise((resolve) => {
    const end = (): void => {
      pairs.clear();
      resolve();
    };
    if (connection.gone.aborted) end();
    else connection.gone.addEventListener("abort", end, { once: true });
  });
}

interface Pair {
  port: number;
  data: SpdyStream | undefined;
  error: SpdyStream | undefined;
  timer: NodeJS.Timeout;
}

class StreamPairs {
  readonly #options: SpdyForwardOptions;
  readonly #pairs = new Map<string, Pair>();

  constructor(options: SpdyForwardOptions) {
    this.#options = options;
  }

  /** False refuses the stream. */
  add(stream: SpdyStream): boolean {
    const port = parsePort(stream.headers.get("port") ?? "");
    const type = stream.headers.get("streamtype");
    if (port === undefined || (type !== "data" && type !== "error")) return false;
    const requestId = requestIdOf(stream, type);
    const pair = this.#pairs.get(requestId) ?? this.#begin(requestId, port);
    if (pair.port !== port || pair[type] !== undefined) return false;
    pair[type] = stream;
    if (pair.data !== undefined && pair.error !== undefined) this.#start(requestId, pair.data, pair.error);
    return true;
  }

  clear(): void {
    for (const { timer } of this.#pairs.values()) clearTimeout(timer);
    this.#pairs.clear();
  }

  #begin(requestId: string, port: number): Pair {
    const timer = setTimeout(() => {
      const pair = this.#pairs.get(requestId);
      this.#pairs.delete(requestId);
      pair?.error?.end("the data stream of this connection was never opened");
      pair?.data?.destroy();
    }, this.#options.creationTimeoutMs);
    const pair: Pair = { port, data: undefined, error: undefined, timer };
    this.#pairs.set(requestId, pair);
    return pair;
  }

  #start(requestId: string, data: SpdyStream, error: SpdyStream): void {
    const pair = this.#pairs.get(requestId);
    this.#pairs.delete(requestId);
    clearTimeout(pair?.timer);
    // Nothing is expected on it; its end is.
    error.resume();
    void forwardPort(pair?.port ?? 0, { input: data, output: data, error }, this.#options.dial);
  }
}

/** Old clients send none: their error stream comes first, and the data stream has the next number. */
function requestIdOf({ headers, streamId }: SpdyStream, type: "data" | "error"): string {
  return headers.get("requestid") ?? `#${type === "error" ? streamId : streamId - 2}`;
}

// HTTP for registries: connections, TLS, proxies, time-outs. It follows no redirect and knows no credentials.
import type { Dispatcher } from "undici";
import { CricketError, messageOf } from "../base/errors.ts";
import { abortedError, registryUnavailable } from "./registry-errors.ts";
import { tlsContextFor } from "./registry-certificates.ts";

export interface TransportOptions {
  connectTimeoutMs: number;
  /** Longest wait for headers, and between two pieces of a body; 0 waits for ever. */
  stallTimeoutMs: number;
  /** Directories of certs.d form, see loadCertificates. */
  certificateRoots: readonly string[];
}

export type HttpBody = Dispatcher.ResponseData["body"];

export interface HttpRequest {
  method: "GET" | "HEAD" | "POST";
  headers: Record<string, string>;
  body?: string;
  signal: AbortSignal;
  /** Accepts any certificate: only where registries.conf calls the registry insecure. */
  acceptAnyCertificate: boolean;
}

export interface HttpAnswer {
  status: number;
  /** The first value of a header, "" when it is absent. `name` in lower case. */
  header(name: string): string;
  /** All values of a header. */
  headers(name: string): string[];
  body: HttpBody;
}

/** Connections of one pull; `close` ends them, so that an idle daemon keeps no socket. */
export class HttpTransport {
  readonly stallTimeoutMs: number;
  readonly #connectTimeoutMs: number;
  readonly #certificateRoots: readonly string[];
  readonly #dispatchers = new Map<string, Promise<Dispatcher>>();

  constructor(options: TransportOptions) {
    this.stallTimeoutMs = options.stallTimeoutMs;
    this.#connectTimeoutMs = options.connectTimeoutMs;
    this.#certificateRoots = options.certificateRoots;
  }

  /** Throws RegistryUnavailable when there is no connection or no answer, cancelled when the signal fired. */
  async request(url: URL, request: HttpRequest): Promise<HttpAnswer> {
    const dispatcher = await this.#dispatcherOf(url, request.acceptAnyCertificate);
    try {
      const { statusCode, headers, body } = await dispatcher.request({
        origin: url.origin,
        path: url.pathname + url.search,
        method: request.method,
        headers: { "user-agent": "cricket", ...request.headers },
        body: request.body ?? null,
        signal: request.signal,
        headersTimeout: this.stallTimeoutMs,
        bodyTimeout: this.stallTimeoutMs,
        // One read from the kernel is 64 KiB: the default would pause the socket after every one.
        highWaterMark: 1024 * 1024,
      });
      const all = (name: string): string[] => [headers[name] ?? []].flat();
      return { status: statusCode, header: (name) => all(name)[0] ?? "", headers: all, body };
    } catch (error) {
      throw this.explain(error, url, request.signal);
    }
  }

  /** The error to report for a failed request or a body that broke off. */
  explain(error: unknown, url: URL, signal: AbortSignal): CricketError {
    if (signal.aborted) return abortedError(signal);
    if (error instanceof CricketError) return error;
    const code = codeOf(error);
    if (code === "UND_ERR_HEADERS_TIMEOUT" || code === "UND_ERR_BODY_TIMEOUT")
      return registryUnavailable(`${url.host} sent nothing for ${this.stallTimeoutMs} ms`, error);
    if (code === "UND_ERR_CONNECT_TIMEOUT")
      return registryUnavailable(`connect to ${url.host}: no answer in ${this.#connectTimeoutMs} ms`, error);
    return registryUnavailable(
      `${url.protocol}//${url.host}: ${code === "" ? messageOf(error) : code}`,
      error,
    );
  }

  async close(): Promise<void> {
    const dispatchers = [...this.#dispatchers.values()];
    this.#dispatchers.clear();
    const open = await Promise.allSettled(dispatchers);
    for (const one of open) if (one.status === "fulfilled") await one.value.destroy();
  }

  #dispatcherOf(url: URL, acceptAnyCertificate: boolean): Promise<Dispatcher> {
    const key = `${url.host} ${acceptAnyCertificate}`;
    let dispatcher = this.#dispatchers.get(key);
    if (dispatcher === undefined) {
      dispatcher = this.#open(url, acceptAnyCertificate);
      this.#dispatchers.set(key, dispatcher);
    }
    return dispatcher;
  }

  async #open(url: URL, acceptAnyCertificate: boolean): Promise<Dispatcher> {
    // 18 MiB of resident memory that a daemon which never pulls need not have.
    const { Agent, EnvHttpProxyAgent } = await import("undici");
    const secureContext =
      url.protocol === "https:" ? await tlsContextFor(url.host, this.#certificateRoots) : undefined;
    const tls = {
      ...(secureContext === undefined ? {} : { secureContext }),
      rejectUnauthorized: !acceptAnyCertificate,
    };
    const connect = { ...tls, timeout: this.#connectTimeoutMs };
    return isLoopback(url.hostname) || !hasProxy()
      ? new Agent({ connect })
      : new EnvHttpProxyAgent({ connect, requestTls: tls });
  }
}

/** Reads a whole body. Throws resource-exhausted beyond `limitBytes`: a registry must not fill the daemon's memory. */
export async function readBody(body: HttpBody, limitBytes: number, what: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    length += chunk.length;
    // Leaving the loop destroys the stream, and with it the connection.
    if (length > limitBytes)
      throw new CricketError("resource-exhausted", `${what} is larger than ${limitBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

/** Reads past a body whose content does not matter, so that its connection can be used again. */
export async function discardBody(body: HttpBody): Promise<void> {
  await body.dump({ limit: 64 * 1024 }).catch(() => {});
}

/** True for a connection that was lost after it had been made: the same request may succeed on another. */
export function isDroppedConnection(error: unknown): boolean {
  if (!(error instanceof CricketError)) return false;
  return ["UND_ERR_SOCKET", "ECONNRESET", "EPIPE", "UND_ERR_RES_CONTENT_LENGTH_MISMATCH"].includes(
    codeOf(error.cause),
  );
}

/** The code of a failed connection, from the error or from its cause ("ECONNREFUSED"); "" for none. */
function codeOf(error: unknown): string {
  for (let cause = error; cause instanceof Error; cause = cause.cause)
    if ("code" in cause && typeof cause.code === "string") return cause.code;
  return "";
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || hostname.startsWith("127.");
}

function hasProxy(): boolean {
  const names = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"];
  return names.some((name) => (process.env[name] ?? "") !== "");
}

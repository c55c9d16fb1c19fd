// The HTTP server that clients of Exec, Attach and PortForward connect to. The CRI call leaves its request here and
// answers with an address; whoever comes with the token in it gets that request served, once.
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createHttpsServer, Server as HttpsServer } from "node:https";
import { isIPv6, type AddressInfo, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { messageOf, wrapError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { releaseMemory } from "../linux/release-memory.ts";
import { BulkRest } from "./bulk-rest.ts";
import { RequestTokens } from "./request-tokens.ts";
import { serveSession, type SessionRequest, type Sessions } from "./serve-session.ts";
import { TlsFiles, type TlsPaths } from "./tls-files.ts";
import { refuse, UpgradeRefused } from "./upgrade.ts";

export interface StreamingOptions {
  /** An IP address of this host. */
  address: string;
  /** 0: any that is free. */
  port: number;
  tls?: TlsPaths;
  /** A session in which no byte moves for this long is closed. */
  idleTimeoutMs: number;
  /** How long a client may take from connecting to having opened its streams. */
  creationTimeoutMs: number;
}

/** Probes of a connection whose other end may have vanished without a word. */
const keepAliveMs = 30_000;

export class StreamingServer {
  readonly #options: StreamingOptions;
  readonly #sessions: Sessions;
  readonly #log: Log;
  readonly #server: Server;
  readonly #tls: TlsFiles | undefined;
  readonly #tokens = new RequestTokens<SessionRequest>();
  readonly #sockets = new Set<Socket>();
  readonly #rest: BulkRest;

  /** @throws CricketError when it cannot listen there, or the certificate cannot be used */
  static async listen(options: StreamingOptions, sessions: Sessions, log: Log): Promise<StreamingServer> {
    const server = new StreamingServer(options, sessions, log);
    await server.#listen();
    return server;
  }

  private constructor(options: StreamingOptions, sessions: Sessions, log: Log) {
    this.#options = options;
    this.#sessions = sessions;
    this.#log = log;
    this.#rest = new BulkRest(() => {
      releaseMemory().catch((error: unknown) =>
        log.debug("memory not released", { error: messageOf(error) }),
      );
    });
    this.#tls = options.tls === undefined ? undefined : new TlsFiles(options.tls);
    const timeoutMs = options.creationTimeoutMs;
    const limits = {
      headersTimeout: timeoutMs,
      requestTimeout: timeoutMs,
      // Node looks at those only so often.
      connectionsCheckingInterval: Math.min(timeoutMs, 30_000),
    };
    this.#server =
      this.#tls === undefined
        ? createHttpServer(limits)
        : createHttpsServer({ ...limits, ...this.#tls.read() });
    this.#server.on("connection", (socket: Socket) => this.#track(socket));
    this.#server.on("request", answerPlainRequest);
    this.#server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      this.#upgrade(request, socket, head),
    );
  }

  /**
   * The address at which this request is served, once, within a minute.
   * @throws CricketError resource-exhausted when too many wait
   */
  urlOf(request: SessionRequest): string {
    this.#reloadCertificate();
    const { port } = this.#server.address() as AddressInfo;
    const scheme = this.#tls === undefined ? "http" : "https";
    return `${scheme}://${hostInUrl(this.#options.address)}:${port}/${request.kind}/${this.#tokens.issue(request)}`;
  }

  /** Ends all sessions. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
    this.#rest.close();
  }

  #listen(): Promise<void> {
    const { address, port } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once("error", (error) => reject(wrapError(`listen on ${address} port ${port}`, error)));
      this.#server.listen({ host: address, port }, resolve);
    });
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    this.#rest.begin();
    socket.setKeepAlive(true, keepAliveMs);
    // Keystrokes must not wait for the acknowledgement of the one before.
    socket.setNoDelay(true);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      this.#rest.end(socket.bytesRead + socket.bytesWritten);
    });
  }

  // The certificate is needed when the client connects, which is right after its address was asked for.
  #reloadCertificate(): void {
    try {
      const pair = this.#tls?.readChanged();
      if (pair !== undefined && this.#server instanceof HttpsServer) this.#server.setSecureContext(pair);
    } catch (error) {
      // A renewal that is half written: the certificate in use stays.
      this.#log.warn("streaming certificate not reloaded", { error: messageOf(error) });
    }
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // An error of the socket is followed by its close, which every session notices.
    socket.on("error", () => {});
    const begin = async (): Promise<void> => {
      const session = this.#take(request);
      (socket as Socket).setTimeout(this.#options.idleTimeoutMs, () => socket.destroy());
      if (head.length > 0) socket.unshift(head);
      const { creationTimeoutMs } = this.#options;
      await serveSession({ http: request, socket, creationTimeoutMs }, session, this.#sessions);
    };
    begin().catch((error: unknown) => {
      if (error instanceof UpgradeRefused) {
        refuse(socket, error);
        return;
      }
      this.#log.info("streaming session failed", { error: messageOf(error) });
      socket.destroy();
    });
  }

  #take(request: IncomingMessage): SessionRequest {
    const { kind, token } = parsePath(request.url ?? "");
    const session = this.#tokens.take(token);
    if (session === undefined || session.kind !== kind) throw new UpgradeRefused(404, "no such session");
    return session;
  }
}

const pathPattern = /^\/(exec|attach|portforward)\/([\w-]{1,64})(?:\?.*)?$/;

/** @throws UpgradeRefused 404 */
function parsePath(url: string): { kind: string; token: string } {
  const [, kind, token] = pathPattern.exec(url) ?? [];
  if (kind === undefined || token === undefined) throw new UpgradeRefused(404, "no such session");
  return { kind, token };
}

/** A request that does not ask for an upgrade uses no token up. */
function answerPlainRequest(request: IncomingMessage, response: ServerResponse): void {
  const isSession = pathPattern.test(request.url ?? "");
  response.writeHead(isSession ? 400 : 404, { "Content-Type": "text/plain", Connection: "close" });
  response.end(isSession ? "an upgrade to SPDY/3.1 or websocket is needed\n" : "no such session\n");
}

/** Who listens everywhere is reached on loopback: the kubelet, which relays to these addresses, is on this host. */
function hostInUrl(address: string): string {
  if (address === "0.0.0.0") return "127.0.0.1";
  if (address === "::") return "[::1]";
  return isIPv6(address) ? `[${address}]` : address;
}

// The gRPC server on the unix socket.
import { Server, ServerCredentials, type ServiceDefinition, type UntypedHandleCall } from "@grpc/grpc-js";
import { lstatSync, unlinkSync } from "node:fs";
import { createServer, type Server as SocketServer, type Socket } from "node:net";
import { CricketError, errnoOf, wrapError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { AnyRpc, StreamName, UnaryName } from "../../cri-api/services.ts";
import { MalformedRequest, wrapStream, wrapUnary, type StreamHandler, type UnaryHandler } from "./call.ts";
import { StagedSocket } from "../linux/staged-socket.ts";

/** The handlers of a service by the names of its RPCs; a text says why an RPC is not there. */
export type Handlers<Service> = {
  readonly [Name in UnaryName<Service>]: UnaryHandler<Service[Name]> | string;
} & {
  readonly [Name in StreamName<Service>]: StreamHandler<Service[Name]> | string;
};

export interface CriServerOptions {
  socketPath: string;
  log: Log;
  /** As in CallParts. Default 30000. */
  longCallMs?: number;
}

/** Everything but what waits for others takes milliseconds; the kubelet gives up after two minutes. */
const defaultLongCallMs = 30_000;

// Requests: the kubelet's own limit is 16 MiB in the other direction. Answers are as long as they have to be.
const maxRequestBytes = 32 * 1024 * 1024;

export class CriServer {
  readonly #grpc: Server;
  readonly #listener: SocketServer;
  readonly #connections = new Set<Socket>();
  readonly #options: CriServerOptions;
  #socketInode: bigint | undefined;

  constructor(options: CriServerOptions) {
    this.#options = options;
    this.#grpc = new Server({
      "grpc.max_receive_message_length": maxRequestBytes,
      "grpc.max_send_message_length": -1,
      "grpc.enable_channelz": 0,
    });
    const injector = this.#grpc.createConnectionInjector(ServerCredentials.createInsecure());
    // The connections are ours and not gRPC's: its forced shutdown leaves those open that have calls under way.
    this.#listener = createServer((connection) => {
      this.#connections.add(connection);
      connection.once("close", () => this.#connections.delete(connection));
      injector.injectConnection(connection);
    });
  }

  addService<Service extends Record<string, AnyRpc>>(service: Service, handlers: Handlers<Service>): void {
    const implementation: Record<string, UntypedHandleCall> = {};
    const { log, longCallMs = defaultLongCallMs } = this.#options;
    const parts = { log, longCallMs };
    const entries = handlers as Readonly<Record<string, AnyHandler>>;
    for (const [name, rpc] of Object.entries(service)) {
      const handler = entries[name] ?? "";
      implementation[name] = rpc.responseStream
        ? wrapStream(name, streamHandlerOf(name, handler), parts)
        : wrapUnary(name, unaryHandlerOf(name, handler), parts);
    }
    this.#grpc.addService(definitionOf(service), implementation);
  }

  /**
   * Listens on the socket: mode 0600, in a directory that is made with mode 0700 if it is missing.
   * @throws CricketError failed-precondition when another daemon listens there
   */
  async listen(): Promise<void> {
    const { socketPath } = this.#options;
    const staged = await StagedSocket.prepare(socketPath);
    try {
      await this.#bind(staged.path);
      staged.publish();
    } catch (error) {
      staged.discard();
      this.#listener.close();
      throw wrapError(`listen on ${socketPath}`, error);
    }
    this.#socketInode = lstatSync(socketPath, { bigint: true }).ino;
  }

  #bind(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#listener.once("error", reject);
      this.#listener.listen(path, () => {
        this.#listener.removeListener("error", reject);
        // Out of descriptors for a moment: the next connection may work, and the daemon has to live.
        this.#listener.on("error", (error) => this.#options.log.warn("accept", { error: error.message }));
        resolve();
      });
    });
  }

  /** Takes no new calls, waits for those under way at most `graceMs`, then cuts them off. */
  async close(graceMs = 2000): Promise<void> {
    this.#unlinkOwnSocket();
    this.#listener.close();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, graceMs);
      this.#grpc.tryShutdown(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    for (const connection of this.#connections) connection.destroy();
  }

  // By now the path may belong to a daemon that was started meanwhile.
  #unlinkOwnSocket(): void {
    const { socketPath } = this.#options;
    try {
      if (lstatSync(socketPath, { bigint: true }).ino === this.#socketInode) unlinkSync(socketPath);
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw wrapError(`remove ${socketPath}`, error);
    }
  }
}

type AnyHandler = UnaryHandler<AnyRpc> | StreamHandler<AnyRpc> | string;

function unaryHandlerOf(name: string, handler: AnyHandler): UnaryHandler<AnyRpc> {
  if (typeof handler !== "string") return handler as UnaryHandler<AnyRpc>;
  return () => {
    throw notImplemented(name, handler);
  };
}

function streamHandlerOf(name: string, handler: AnyHandler): StreamHandler<AnyRpc> {
  if (typeof handler !== "string") return handler as StreamHandler<AnyRpc>;
  return () => {
    throw notImplemented(name, handler);
  };
}

function notImplemented(name: string, why: string): CricketError {
  return new CricketError("unimplemented", `${name} is not implemented yet${why === "" ? "" : `: ${why}`}`);
}

// A request that cannot be decoded has to reach the wrapper: gRPC itself would answer INTERNAL for the client's fault.
function definitionOf(service: Readonly<Record<string, AnyRpc>>): ServiceDefinition {
  const definition: Record<string, ServiceDefinition[string]> = {};
  for (const [name, rpc] of Object.entries(service))
    definition[name] = {
      ...rpc,
      originalName: name,
      requestDeserialize: (bytes: Buffer) => {
        try {
          return rpc.requestDeserialize(bytes);
        } catch (error) {
          return new MalformedRequest(error);
        }
      },
    } as ServiceDefinition[string];
  return definition;
}

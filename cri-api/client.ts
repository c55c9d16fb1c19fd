// A typed client of the socket: promises for unary calls, async iterables for streams.
import { Client, credentials, status as statusCodes, type ServiceError } from "@grpc/grpc-js";
import {
  cricketService,
  imageService,
  runtimeService,
  type AnyRpc,
  type RequestSentOf,
  type ResponseOf,
  type StreamName,
  type UnaryName,
} from "./services.ts";

export interface CallOptions {
  /** Without it a call waits as long as the daemon does. */
  deadlineMs?: number;
  signal?: AbortSignal;
}

/** A call that failed. `status` is the name of the gRPC status: "NOT_FOUND"; `message` what the daemon said. */
export class RpcError extends Error {
  readonly status: string;

  constructor(status: string, message: string) {
    super(message);
    this.name = "RpcError";
    this.status = status;
  }
}

/** One method per RPC, named as the RPC with a small first letter. */
export type ServiceClient<Service> = {
  readonly [Name in UnaryName<Service> as Uncapitalize<Name>]: (
    request: RequestSentOf<Service[Name]>,
    options?: CallOptions,
  ) => Promise<ResponseOf<Service[Name]>>;
} & {
  readonly [Name in StreamName<Service> as Uncapitalize<Name>]: (
    request: RequestSentOf<Service[Name]>,
    options?: CallOptions,
  ) => AsyncIterable<ResponseOf<Service[Name]>>;
};

export interface CriClient {
  readonly runtime: ServiceClient<typeof runtimeService>;
  readonly image: ServiceClient<typeof imageService>;
  readonly cricket: ServiceClient<typeof cricketService>;
  close(): void;
}

const maxMessageBytes = 64 * 1024 * 1024;

/** `endpoint`: "unix:///run/cricket/cricket.sock". Connects with the first call. */
export function connectCri(endpoint: string): CriClient {
  const client = new Client(endpoint, credentials.createInsecure(), {
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.enable_channelz": 0,
    "grpc.enable_retries": 0,
    // A daemon on the same machine that is restarted is back within a second; the default waits up to two minutes.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
    "grpc.service_config_disable_resolution": 1,
  });
  return {
    runtime: methodsOf(client, runtimeService),
    image: methodsOf(client, imageService),
    cricket: methodsOf(client, cricketService),
    close: () => client.close(),
  };
}

function methodsOf<Service extends Record<string, AnyRpc>>(
  client: Client,
  service: Service,
): ServiceClient<Service> {
  const methods: Record<string, unknown> = {};
  for (const [name, rpc] of Object.entries(service)) {
    const method = rpc.responseStream ? callStreaming : callUnary;
    methods[name.charAt(0).toLowerCase() + name.slice(1)] = (request: never, options?: CallOptions) =>
      method(client, rpc, request, options);
  }
  return methods as ServiceClient<Service>;
}

function callUnary(client: Client, rpc: AnyRpc, request: never, options: CallOptions = {}): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const call = client.makeUnaryRequest(
      rpc.path,
      rpc.requestSerialize,
      rpc.responseDeserialize,
      request,
      deadlineOf(options),
      (error, response) => {
        release();
        if (error !== null) reject(rpcError(error));
        else resolve(response);
      },
    );
    const release = onAbort(options.signal, () => call.cancel());
  });
}

async function* callStreaming(
  client: Client,
  rpc: AnyRpc,
  request: never,
  options: CallOptions = {},
): AsyncGenerator<unknown> {
  const call = client.makeServerStreamRequest(
    rpc.path,
    rpc.requestSerialize,
    rpc.responseDeserialize,
    request,
    deadlineOf(options),
  );
  const release = onAbort(options.signal, () => call.cancel());
  try {
    for await (const message of call) yield message;
  } catch (error) {
    throw isServiceError(error) ? rpcError(error) : error;
  } finally {
    release();
    call.cancel();
  }
}

function deadlineOf(options: CallOptions): { deadline?: number } {
  return options.deadlineMs === undefined ? {} : { deadline: Date.now() + options.deadlineMs };
}

function onAbort(signal: AbortSignal | undefined, cancel: () => void): () => void {
  if (signal === undefined) return () => {};
  if (signal.aborted) cancel();
  else signal.addEventListener("abort", cancel, { once: true });
  return () => signal.removeEventListener("abort", cancel);
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "details" in error && "code" in error;
}

function rpcError(error: ServiceError): RpcError {
  return new RpcError(statusCodes[error.code] ?? "UNKNOWN", error.details);
}

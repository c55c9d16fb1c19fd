// One connected plugin: registration, configuration, and the calls it is asked to answer.
import type { Duplex } from "node:stream";
import { CricketError, failedPrecondition, invalidArgument, messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { toInt64 } from "../../../cri-api/int64.ts";
import { v1, type MessageType } from "../../../cri-api/nri/v1/api.js";
import { TtrpcClient } from "../ttrpc/client.ts";
import { Multiplexer } from "../ttrpc/multiplexer.ts";
import { TtrpcServer } from "../ttrpc/server.ts";
import { RemoteError } from "../ttrpc/status.ts";
import { splitSynchronize } from "./synchronize.ts";

const wirePackage = "nri.pkg.api.v1alpha1";
const pluginConnection = 1;
const runtimeConnection = 2;
/** What of the interface is spoken here. */
const nriVersion = "0.12.0";

const validEvents = (1 << v1.Event.VALIDATE_CONTAINER_ADJUSTMENT) - 1;

/** Calls that plugins of before they existed get as a StateChange. */
const stateChanges: Readonly<Record<string, number>> = {
  RunPodSandbox: v1.Event.RUN_POD_SANDBOX,
  PostUpdatePodSandbox: v1.Event.POST_UPDATE_POD_SANDBOX,
  StopPodSandbox: v1.Event.STOP_POD_SANDBOX,
  RemovePodSandbox: v1.Event.REMOVE_POD_SANDBOX,
  PostCreateContainer: v1.Event.POST_CREATE_CONTAINER,
  StartContainer: v1.Event.START_CONTAINER,
  PostStartContainer: v1.Event.POST_START_CONTAINER,
  PostUpdateContainer: v1.Event.POST_UPDATE_CONTAINER,
  RemoveContainer: v1.Event.REMOVE_CONTAINER,
};

export interface PluginOptions {
  registrationTimeoutMs: number;
  requestTimeoutMs: number;
  runtimeVersion: string;
  log: Log;
  /** Given for a plugin that was launched; others say it themselves. */
  identity?: { index: string; name: string };
  /** Its configuration file. */
  config: string;
  onUpdate(request: v1.UpdateContainersRequest, plugin: string): Promise<v1.UpdateContainersResponseSent>;
  onClose(reason: Error): void;
}

export interface Call<Sent, Received> {
  event: number;
  /** Of the Plugin service. */
  method: string;
  request: MessageType<Sent, unknown>;
  response: MessageType<never, Received>;
}

export class Plugin {
  index = "";
  #baseName = "";
  readonly #options: PluginOptions;
  readonly #mux: Multiplexer;
  readonly #client = new TtrpcClient(`${wirePackage}.Plugin`);
  readonly #usesStateChange = new Set<string>();
  readonly #registered: Promise<void>;
  #settle: { resolve(): void; reject(error: Error): void } = { resolve: () => {}, reject: () => {} };
  #events = 0;
  #isClosed = false;

  constructor(socket: Duplex, options: PluginOptions) {
    this.#options = options;
    this.#registered = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.#registered.catch(() => {});
    if (options.identity !== undefined) this.#identify(options.identity);
    this.#mux = new Multiplexer(socket, (reason) => this.#closed(reason));
    const server = new TtrpcServer(`${wirePackage}.Runtime`, {
      RegisterPlugin: (payload) => this.#register(payload),
      UpdateContainers: (payload) => this.#update(payload),
    });
    this.#client.attach(this.#mux.open(pluginConnection, (bytes) => this.#client.receive(bytes)));
    server.attach(this.#mux.open(runtimeConnection, (bytes) => server.receive(bytes)));
  }

  get name(): string {
    return this.#baseName === "" ? "(not registered)" : `${this.index}-${this.#baseName}`;
  }

  /** Without the index. */
  get baseName(): string {
    return this.#baseName;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  wants(event: number): boolean {
    return !this.#isClosed && (this.#events & (1 << (event - 1))) !== 0;
  }

  /** Waits until it has registered, and configures it. Rejects when it does not in time; then it is closed. */
  async start(): Promise<void> {
    const { registrationTimeoutMs } = this.#options;
    const timer = setTimeout(() => {
      this.close(new CricketError("deadline-exceeded", `not registered after ${registrationTimeoutMs} ms`));
    }, registrationTimeoutMs);
    try {
      this.#mux.start();
      await this.#registered;
      await this.#configure();
    } catch (error) {
      this.close(error as Error);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Tells it of all that is there already; resolves to the updates it asks for. Rejects and closes it otherwise. */
  async synchronize(
    pods: readonly v1.PodSandboxSent[],
    containers: readonly v1.ContainerSent[],
  ): Promise<v1.ContainerUpdate[]> {
    try {
      for (const request of splitSynchronize(pods, containers)) {
        const payload = v1.SynchronizeRequest.encode(request).finish();
        const { update, more } = v1.SynchronizeResponse.decode(await this.#call("Synchronize", payload));
        if (request.more !== true) return update;
        if (!more || update.length > 0)
          throw failedPrecondition("it does not take its state in several messages");
      }
      return [];
    } catch (error) {
      this.close(error as Error);
      throw error;
    }
  }

  /**
   * Its answer; undefined where it has not asked for the event, and where it is closed now because it did not answer
   * (in time, or with what can be understood): the others go on without it.
   * @throws CricketError when it refuses, or the message is too long to be sent: that is not the plugin's fault
   */
  async ask<Sent, Received>(call: Call<Sent, Received>, message: Sent): Promise<Received | undefined> {
    if (!this.wants(call.event)) return undefined;
    try {
      return call.response.decode(await this.#relay(call.method, call.request.encode(message).finish()));
    } catch (error) {
      if (error instanceof RemoteError || isTooLong(error))
        throw new CricketError(error.code, `plugin ${this.name}, ${call.method}: ${error.message}`, {
          cause: error,
        });
      this.close(new CricketError("unavailable", `${call.method}: ${messageOf(error)}`, { cause: error }));
      return undefined;
    }
  }

  /** Tells it that the runtime ends. Never rejects. */
  async shutdown(): Promise<void> {
    await this.#call("Shutdown", v1.Empty.encode({}).finish()).catch(() => {});
    this.close(new CricketError("unavailable", "the daemon is stopping"));
  }

  close(reason: Error): void {
    this.#mux.close(reason);
  }

  async #relay(method: string, payload: Uint8Array): Promise<Uint8Array> {
    const event = stateChanges[method];
    if (event === undefined) return this.#call(method, payload);
    if (!this.#usesStateChange.has(method)) {
      try {
        return await this.#call(method, payload);
      } catch (error) {
        if (!(error instanceof RemoteError) || error.code !== "unimplemented") throw error;
        this.#usesStateChange.add(method);
      }
    }
    const { pod, container } = v1.ContainerRequest.decode(payload);
    const change = { event, pod: pod ?? null, container: container ?? null };
    await this.#call("StateChange", v1.StateChangeEvent.encode(change).finish());
    return new Uint8Array();
  }

  #call(method: string, payload: Uint8Array): Promise<Uint8Array> {
    return this.#client.call(method, payload, this.#options.requestTimeoutMs);
  }

  #register(payload: Uint8Array): Promise<Uint8Array> {
    const { pluginName, pluginIdx, nriVersion: version } = v1.RegisterPluginRequest.decode(payload);
    try {
      if (this.#options.identity === undefined) {
        if (this.#baseName !== "") throw failedPrecondition(`plugin ${this.name} is registered already`);
        this.#identify({ index: pluginIdx, name: pluginName });
      }
    } catch (error) {
      // The connection ends with it: the plugin is to read why first.
      setImmediate(() => this.#settle.reject(error as Error));
      return Promise.reject(error as Error);
    }
    this.#options.log.debug("NRI plugin registers", { plugin: this.name, version });
    this.#settle.resolve();
    return Promise.resolve(v1.Empty.encode({}).finish());
  }

  #identify({ index, name }: { index: string; name: string }): void {
    if (!/^[\w.+-]{1,255}$/.test(name))
      throw invalidArgument(
        `plugin_name is ${JSON.stringify(name.slice(0, 255))}: not made of A-Z a-z 0-9 _ . + -`,
      );
    if (!/^\d\d$/.test(index))
      throw invalidArgument(`plugin_idx is ${JSON.stringify(index.slice(0, 255))}: not two digits`);
    this.index = index;
    this.#baseName = name;
  }

  async #configure(): Promise<void> {
    const { config, runtimeVersion, registrationTimeoutMs, requestTimeoutMs } = this.#options;
    const request = {
      config,
      runtimeName: "cricket",
      runtimeVersion,
      registrationTimeout: toInt64(BigInt(registrationTimeoutMs)),
      requestTimeout: toInt64(BigInt(requestTimeoutMs)),
      nriVersion,
    };
    const payload = v1.ConfigureRequest.encode(request).finish();
    const { events } = v1.ConfigureResponse.decode(await this.#call("Configure", payload));
    if ((events & ~validEvents) !== 0)
      throw invalidArgument(
        `plugin ${this.name} asks for events that do not exist: 0x${events.toString(16)}`,
      );
    this.#events = events === 0 ? validEvents : events;
  }

  async #update(payload: Uint8Array): Promise<Uint8Array> {
    if (this.#baseName === "") throw failedPrecondition("the plugin is not registered");
    const response = await this.#options.onUpdate(v1.UpdateContainersRequest.decode(payload), this.name);
    return v1.UpdateContainersResponse.encode(response).finish();
  }

  #closed(reason: Error): void {
    this.#isClosed = true;
    this.#settle.reject(reason);
    this.#client.close(reason);
    this.#options.onClose(reason);
  }
}

function isTooLong(error: unknown): error is CricketError {
  return error instanceof CricketError && error.code === "resource-exhausted";
}

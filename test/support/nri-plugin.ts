// A small NRI plugin: connects, registers, answers as a test says, and keeps what it was asked.
import { createConnection } from "node:net";
import type { Duplex } from "node:stream";
import { v1, type MessageType } from "../../cri-api/nri/v1/api.js";
import { TtrpcClient } from "../../src/plugins/ttrpc/client.ts";
import { Multiplexer } from "../../src/plugins/ttrpc/multiplexer.ts";
import { TtrpcServer, type Handler } from "../../src/plugins/ttrpc/server.ts";
import { statusOf } from "../../src/plugins/ttrpc/status.ts";
import type { TestNode, TestPod } from "./node.ts";
import { CricketError } from "../../src/base/errors.ts";

/** Runs `body` with a connected plugin and a pod; both are gone afterwards. */
export async function withPlugin(
  node: TestNode,
  name: string,
  answers: PluginAnswers,
  body: (plugin: TestPlugin, pod: TestPod) => Promise<void>,
): Promise<void> {
  const plugin = await TestPlugin.connect(node.daemon.nriSocket, name, answers);
  try {
    const pod = await node.runPod(`nri-${name}`);
    try {
      await body(plugin, pod);
    } finally {
      await pod.remove();
    }
  } finally {
    plugin.close();
  }
}

export interface Asked {
  method: string;
  pod?: v1.PodSandbox | null;
  container?: v1.Container | null;
  resources?: v1.LinuxResources | null;
}

type Answer<Sent> = (asked: Asked) => Sent | Promise<Sent>;

export interface PluginAnswers {
  Configure?: (request: v1.ConfigureRequest) => v1.ConfigureResponseSent;
  Synchronize?: (request: v1.SynchronizeRequest) => v1.SynchronizeResponseSent;
  CreateContainer?: Answer<v1.CreateContainerResponseSent>;
  UpdateContainer?: Answer<v1.UpdateContainerResponseSent>;
  StopContainer?: Answer<v1.UpdateContainerResponseSent>;
  ValidateContainerAdjustment?: (
    request: v1.ValidateContainerAdjustmentRequest,
  ) => v1.ValidateContainerAdjustmentResponseSent;
  /** All others: what they throw is a refusal. */
  other?: (asked: Asked) => void | Promise<void>;
  /** Calls that the plugin does not have, as if it were older. */
  unimplemented?: readonly string[];
}

const podCalls = [
  "RunPodSandbox",
  "UpdatePodSandbox",
  "PostUpdatePodSandbox",
  "StopPodSandbox",
  "RemovePodSandbox",
];
const containerCalls = [
  "PostCreateContainer",
  "StartContainer",
  "PostStartContainer",
  "PostUpdateContainer",
  "RemoveContainer",
];

export class TestPlugin {
  readonly asked: Asked[] = [];
  readonly synchronized: v1.SynchronizeRequest[] = [];
  /** Settles when the connection ends. */
  readonly closed: Promise<void>;
  readonly #answers: PluginAnswers;
  readonly #mux: Multiplexer;
  readonly #runtime = new TtrpcClient("nri.pkg.api.v1alpha1.Runtime");
  #onSynchronized: () => void = () => {};
  readonly #ready: Promise<void>;

  constructor(socket: Duplex, answers: PluginAnswers) {
    this.#answers = answers;
    let onClosed: () => void = () => {};
    this.closed = new Promise((resolve) => (onClosed = resolve));
    this.#ready = new Promise((resolve) => (this.#onSynchronized = resolve));
    this.#mux = new Multiplexer(socket, (reason) => {
      this.#runtime.close(reason);
      onClosed();
    });
    const server = new TtrpcServer("nri.pkg.api.v1alpha1.Plugin", this.#handlers());
    server.attach(this.#mux.open(1, (bytes) => server.receive(bytes)));
    this.#runtime.attach(this.#mux.open(2, (bytes) => this.#runtime.receive(bytes)));
    this.#mux.start();
  }

  /** Connects and resolves when the runtime has told of all there is. */
  static async connect(socketPath: string, name: string, answers: PluginAnswers = {}): Promise<TestPlugin> {
    const plugin = new TestPlugin(createConnection(socketPath), answers);
    await plugin.register(name);
    await plugin.ready();
    return plugin;
  }

  async register(name: string): Promise<void> {
    const [, index = "", base = ""] = /^(\d*)-?(.*)$/.exec(name) ?? [];
    const request = v1.RegisterPluginRequest.encode({
      pluginName: base,
      pluginIdx: index,
      nriVersion: "test",
    });
    await this.#runtime.call("RegisterPlugin", request.finish(), 5000);
  }

  async ready(): Promise<void> {
    await Promise.race([this.#ready, this.closed.then(() => Promise.reject(new Error("closed")))]);
  }

  async update(request: v1.UpdateContainersRequestSent): Promise<v1.ContainerUpdate[]> {
    const payload = v1.UpdateContainersRequest.encode(request).finish();
    const answer = await this.#runtime.call("UpdateContainers", payload, 10_000);
    return v1.UpdateContainersResponse.decode(answer).failed;
  }

  /** Names of what it was asked about a container or pod, in order. */
  methods(id: string): string[] {
    return this.asked
      .filter(({ pod, container }) => (container?.id ?? pod?.id) === id)
      .map(({ method }) => method);
  }

  /** Waits until it was asked `method` about `id`. */
  async until(method: string, id: string): Promise<Asked> {
    const deadline = Date.now() + 15_000;
    for (;;) {
      const found = this.asked.find(
        (asked) => asked.method === method && (asked.container?.id ?? asked.pod?.id) === id,
      );
      if (found !== undefined) return found;
      if (Date.now() > deadline)
        throw new Error(`not asked ${method} about ${id}: ${this.methods(id).join()}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  close(): void {
    this.#mux.close(new Error("closed by the test"));
  }

  #handlers(): Record<string, Handler> {
    const handlers: Record<string, Handler> = {};
    const answers = this.#answers;
    for (const method of [...podCalls, ...containerCalls])
      handlers[method] = async (payload) => {
        const asked = this.#note(method, payload);
        await answers.other?.(asked);
        return new Uint8Array();
      };
    const answering = <Sent>(
      method: "CreateContainer" | "UpdateContainer" | "StopContainer",
      type: MessageType<Sent, unknown>,
      answer: Answer<Sent> | undefined,
    ): void => {
      handlers[method] = async (payload) => {
        const asked = this.#note(method, payload);
        return type.encode((await answer?.(asked)) ?? ({} as Sent)).finish();
      };
    };
    answering("CreateContainer", v1.CreateContainerResponse, answers.CreateContainer);
    answering("UpdateContainer", v1.UpdateContainerResponse, answers.UpdateContainer);
    answering("StopContainer", v1.UpdateContainerResponse, answers.StopContainer);
    Object.assign(handlers, this.#beginning());
    const refused = async (): Promise<never> => {
      throw new CricketError("unimplemented", `status ${statusOf("unimplemented")}`);
    };
    for (const method of answers.unimplemented ?? []) handlers[method] = refused;
    return handlers;
  }

  #beginning(): Record<string, Handler> {
    const { Configure, Synchronize, ValidateContainerAdjustment: validate } = this.#answers;
    const withoutValidation = (1 << (v1.Event.VALIDATE_CONTAINER_ADJUSTMENT - 1)) - 1;
    return {
      Configure: async (payload) => {
        const response = Configure?.(v1.ConfigureRequest.decode(payload)) ?? {
          events: validate === undefined ? withoutValidation : 0,
        };
        return v1.ConfigureResponse.encode(response).finish();
      },
      Synchronize: async (payload) => {
        const request = v1.SynchronizeRequest.decode(payload);
        this.synchronized.push(request);
        const response = Synchronize?.(request) ?? { more: request.more };
        if (!request.more) setImmediate(this.#onSynchronized);
        return v1.SynchronizeResponse.encode(response).finish();
      },
      Shutdown: async () => new Uint8Array(),
      StateChange: async (payload) => {
        const { event, pod, container } = v1.StateChangeEvent.decode(payload);
        this.asked.push({ method: `StateChange ${event}`, pod: pod ?? null, container: container ?? null });
        return new Uint8Array();
      },
      ValidateContainerAdjustment: async (payload) => {
        const answer = validate?.(v1.ValidateContainerAdjustmentRequest.decode(payload)) ?? {};
        return v1.ValidateContainerAdjustmentResponse.encode(answer).finish();
      },
    };
  }

  #note(method: string, payload: Uint8Array): Asked {
    const { pod = null, container = null, linuxResources = null } = v1.ContainerRequest.decode(payload);
    const asked = { method, pod, container, resources: linuxResources };
    this.asked.push(asked);
    return asked;
  }
}

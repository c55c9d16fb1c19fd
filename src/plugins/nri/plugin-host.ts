// All connected plugins: asked one after the other, in the order of their indexes, and one event at a time, so that each
// of them sees the same history.
import type { Duplex } from "node:stream";
import { CricketError, failedPrecondition, messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { v1 } from "../../../cri-api/nri/v1/api.js";
import type { NriConfig } from "../../config/config.ts";
import { checkRejected, checkRequiredPlugins, type RuleSubject } from "./adjustment-rules.ts";
import { calls, type ContainerCall, type PodCall } from "./calls.ts";
import { FieldOwners } from "./field-owners.ts";
import { AdjustmentMerge } from "./merge-adjustment.ts";
import { UpdateMerge, type MergedUpdate } from "./merge-updates.ts";
import { Plugin, type Call } from "./plugin.ts";

/** What plugins want of containers that exist. */
export interface Requests {
  updates: readonly MergedUpdate[];
  evictions: readonly v1.ContainerEviction[];
}

export interface HostParts {
  settings: NriConfig;
  runtimeVersion: string;
  log: Log;
  /** All there is, for a plugin that begins. */
  snapshot(): { pods: v1.PodSandboxSent[]; containers: v1.ContainerSent[] };
  /** Rejects when an update fails whose failure matters; that its container has gone is none. */
  fulfil(requests: Requests): Promise<void>;
  /** Updates that a plugin asks for by itself; resolves to those that failed. */
  update(request: v1.UpdateContainersRequest, plugin: string): Promise<v1.ContainerUpdateSent[]>;
}

export interface Admission {
  identity?: { index: string; name: string };
  config?: string;
  /** For logs: "pid 42", or the path of the program. */
  origin: string;
  onClose?: () => void;
}

/** More than any node has; beyond it somebody opens connections and says nothing. */
const maxConnections = 64;

export class PluginHost {
  readonly #parts: HostParts;
  readonly #connected = new Set<Plugin>();
  #plugins: Plugin[] = [];
  #tail: Promise<unknown> = Promise.resolve();

  constructor(parts: HostParts) {
    this.#parts = parts;
  }

  get isEmpty(): boolean {
    return this.#plugins.length === 0;
  }

  /** In the order in which they are asked. */
  names(): string[] {
    return this.#plugins.map(({ name }) => name);
  }

  /** Takes a connection in. Rejects when it does not become a plugin; then it is closed. */
  async admit(socket: Duplex, admission: Admission): Promise<void> {
    const { settings, runtimeVersion, log } = this.#parts;
    if (this.#connected.size >= maxConnections) {
      socket.destroy();
      admission.onClose?.();
      throw new CricketError("resource-exhausted", `more than ${maxConnections} NRI connections`);
    }
    const plugin: Plugin = new Plugin(socket, {
      ...settings,
      runtimeVersion,
      log,
      config: admission.config ?? "",
      ...(admission.identity === undefined ? {} : { identity: admission.identity }),
      onUpdate: async (request, name) => ({ failed: await this.#parts.update(request, name) }),
      onClose: (reason) => this.#leave(plugin, reason, admission),
    });
    this.#connected.add(plugin);
    await plugin.start();
    const updates = await this.#exclusive(() => this.#join(plugin));
    log.info("NRI plugin connected", { plugin: plugin.name, origin: admission.origin });
    // It has joined, whatever becomes of them.
    await this.#parts.fulfil({ updates, evictions: [] }).catch((error: unknown) => {
      this.#warn("Synchronize", error);
    });
  }

  async #join(plugin: Plugin): Promise<readonly MergedUpdate[]> {
    const { pods, containers } = this.#parts.snapshot();
    const merge = new UpdateMerge(new FieldOwners());
    const updates = await plugin.synchronize(pods, containers);
    try {
      merge.add(plugin.name, updates);
    } catch (error) {
      plugin.close(error as Error);
      throw error;
    }
    if (plugin.isClosed) throw new CricketError("unavailable", `plugin ${plugin.name} has gone`);
    this.#plugins = [...this.#plugins, plugin].toSorted((a, b) => (a.name < b.name ? -1 : 1));
    return merge.others();
  }

  #leave(plugin: Plugin, reason: Error, { onClose, origin }: Admission): void {
    const wasPlugin = this.#plugins.includes(plugin);
    this.#connected.delete(plugin);
    this.#plugins = this.#plugins.filter((other) => other !== plugin);
    this.#parts.log[wasPlugin ? "warn" : "debug"]("NRI plugin left", {
      plugin: plugin.name,
      origin,
      reason: messageOf(reason),
    });
    onClose?.();
  }

  /**
   * `begin` is called when its turn has come: who joins before is told of the pod by the event alone.
   * @throws CricketError when a plugin refuses
   */
  async askPod(name: PodCall, request: v1.PodRequestSent, begin?: () => void): Promise<void> {
    await this.#exclusive(async () => {
      begin?.();
      for (const plugin of this.#plugins)
        await plugin.ask(calls[name] as Call<v1.PodRequestSent, unknown>, request);
    });
  }

  /** Tells all of them; what one of them answers is only logged. */
  async tellPod(name: PodCall, request: v1.PodRequestSent): Promise<void> {
    await this.#tell(calls[name] as Call<v1.PodRequestSent, unknown>, request);
  }

  /** @throws CricketError when a plugin refuses */
  async askContainer(name: ContainerCall, request: v1.ContainerRequestSent): Promise<void> {
    await this.#exclusive(async () => {
      for (const plugin of this.#plugins)
        await plugin.ask(calls[name] as Call<v1.ContainerRequestSent, unknown>, request);
    });
  }

  async tellContainer(name: ContainerCall, request: v1.ContainerRequestSent): Promise<void> {
    await this.#tell(calls[name] as Call<v1.ContainerRequestSent, unknown>, request);
  }

  /**
   * What plugins make of a new container. `begin` is called when its turn has come: from then on plugins may know of it,
   * also of one that another plugin refuses, and have to be told of its end.
   * @throws CricketError when one refuses, two contradict each other, or a rule of the operator is broken
   */
  async createContainer(
    request: v1.ContainerRequestSent,
    subject: RuleSubject,
    begin: () => void,
  ): Promise<v1.ContainerAdjustmentSent> {
    const { adjustment, requests } = await this.#exclusive(() => {
      begin();
      return this.#collect(request, subject);
    });
    await this.#parts.fulfil(requests);
    return adjustment;
  }

  async #collect(
    { pod = null, container }: v1.ContainerRequestSent,
    subject: RuleSubject,
  ): Promise<{ adjustment: v1.ContainerAdjustmentSent; requests: Requests }> {
    const owners = new FieldOwners();
    const merge = new AdjustmentMerge(container ?? {}, owners);
    const updates = new UpdateMerge(owners, subject.containerId);
    const evictions: v1.ContainerEviction[] = [];
    const asked = [...this.#plugins];
    for (const plugin of asked) {
      const answer = await plugin.ask(calls.createContainer, { pod, container: merge.container });
      if (answer === undefined) continue;
      if (answer.adjust !== undefined && answer.adjust !== null) merge.add(plugin.name, answer.adjust);
      updates.add(plugin.name, answer.update);
      evictions.push(...answer.evict);
    }
    const present = asked.filter((plugin) => !plugin.isClosed);
    const { settings } = this.#parts;
    await checkRequiredPlugins(
      subject,
      present.map(({ baseName }) => baseName),
      settings,
    );
    checkRejected(subject, owners, settings);
    const { adjustment } = merge;
    await this.#validate(present, {
      pod,
      container: container ?? null,
      adjust: adjustment,
      update: updates.others().map(updateMessage),
      owners: owners.toWire(),
      plugins: present.map(({ baseName, index }) => ({ name: baseName, index })),
    });
    return { adjustment, requests: { updates: updates.others(), evictions } };
  }

  async #validate(
    plugins: readonly Plugin[],
    request: v1.ValidateContainerAdjustmentRequestSent,
  ): Promise<void> {
    for (const plugin of plugins) {
      if (!plugin.wants(calls.validate.event)) continue;
      const answer = await plugin.ask(calls.validate, request);
      // Unlike all others a validator is missed: nobody would know what it would have said.
      if (answer === undefined)
        throw new CricketError("unavailable", `plugin ${plugin.name} does not validate the adjustment`);
      if (answer.reject)
        throw failedPrecondition(`plugin ${plugin.name} rejects the adjustment: ${answer.reason}`);
    }
  }

  /**
   * What is to be set in place of `request.linuxResources`.
   * @throws CricketError when a plugin refuses, or two contradict each other
   */
  async updateContainer(request: v1.ContainerRequestSent): Promise<v1.LinuxResourcesSent> {
    const { merge, evictions } = await this.#exclusive(() => this.#collectUpdate(request));
    const id = request.container?.id ?? "";
    await this.#parts.fulfil({ updates: merge.others(id), evictions });
    return merge.get(id)?.resources ?? {};
  }

  async #collectUpdate(
    request: v1.ContainerRequestSent,
  ): Promise<{ merge: UpdateMerge; evictions: v1.ContainerEviction[] }> {
    const id = request.container?.id ?? "";
    const merge = new UpdateMerge(new FieldOwners());
    merge.seed(id, request.linuxResources ?? {});
    const evictions: v1.ContainerEviction[] = [];
    for (const plugin of this.#plugins) {
      const linuxResources = merge.get(id)?.resources ?? {};
      const answer = await plugin.ask(calls.updateContainer, { ...request, linuxResources });
      if (answer === undefined) continue;
      merge.add(plugin.name, answer.update);
      evictions.push(...answer.evict);
    }
    return { merge, evictions };
  }

  /** Tells of an end, and does what plugins want of the others then. */
  async stopContainer(request: v1.ContainerRequestSent): Promise<void> {
    const merge = new UpdateMerge(new FieldOwners());
    await this.#exclusive(async () => {
      for (const plugin of this.#plugins) {
        try {
          const answer = await plugin.ask(calls.stopContainer, request);
          merge.add(plugin.name, answer?.update ?? []);
        } catch (error) {
          this.#warn(calls.stopContainer.method, error);
        }
      }
    });
    await this.#parts
      .fulfil({ updates: merge.others(request.container?.id ?? ""), evictions: [] })
      .catch((error: unknown) => {
        this.#warn(calls.stopContainer.method, error);
      });
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    await Promise.all([...this.#connected].map((plugin) => plugin.shutdown()));
  }

  async #tell<Sent>(call: Call<Sent, unknown>, request: Sent): Promise<void> {
    await this.#exclusive(async () => {
      for (const plugin of this.#plugins)
        await plugin.ask(call, request).catch((error: unknown) => this.#warn(call.method, error));
    });
  }

  #warn(method: string, error: unknown): void {
    this.#parts.log.warn("NRI plugin failed", { event: method, error: messageOf(error) });
  }

  /** First come, first served. Nothing that takes another lock may be waited for in `work`. */
  async #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const running = this.#tail.then(work, work);
    this.#tail = running.catch(() => {});
    return running;
  }
}

function updateMessage({ containerId, resources, ignoreFailure }: MergedUpdate): v1.ContainerUpdateSent {
  return { containerId, linux: { resources }, ignoreFailure };
}

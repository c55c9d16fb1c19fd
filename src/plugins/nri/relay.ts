// The life of sandboxes and containers in NRI's messages, and what plugins answer in the runtime's own terms. Loaded only
// when there is a plugin: with its messages it takes a megabyte.
import { messageOf, notFound, wrapError } from "../../base/errors.ts";
import type { v1 } from "../../../cri-api/nri/v1/api.js";
import type { LaunchSubject, ResourceChange } from "../../container/container-participant.ts";
import type { Container } from "../../container/container-store.ts";
import type { LaunchAdjustment } from "../../container/launch-adjustment.ts";
import type { Spec } from "../../oci/spec.ts";
import type { LinuxResources } from "../../sandbox/sandbox-config.ts";
import type { Sandbox } from "../../sandbox/sandbox-store.ts";
import type { PodResources } from "../../sandbox/update-sandbox-resources.ts";
import { adjustmentFromWire, rdtFromWire } from "./adjustment-from-wire.ts";
import type { RuleSubject } from "./adjustment-rules.ts";
import type { ContainerCall } from "./calls.ts";
import { containerMessage, podMessage } from "./describe.ts";
import type { NriParts, Pending } from "./nri.ts";
import { PluginHost, type Requests } from "./plugin-host.ts";
import { given, resourcesFromWire, resourcesToWire } from "./resources-wire.ts";

/** How long a container that a plugin evicts has to end by itself. */
const evictionGraceMs = 10_000;

export class Relay {
  readonly host: PluginHost;
  readonly #parts: NriParts;
  readonly #pending: Pending;

  constructor(parts: NriParts, pending: Pending) {
    this.#parts = parts;
    this.#pending = pending;
    this.host = new PluginHost({
      settings: parts.settings,
      runtimeVersion: parts.version,
      log: parts.log,
      snapshot: () => this.#snapshot(),
      fulfil: (requests) => this.#fulfil(requests),
      update: (request, plugin) => this.#update(request, plugin),
    });
  }

  async runSandbox(sandbox: Sandbox, ips: readonly string[]): Promise<void> {
    const pod = this.#pod(sandbox, ips);
    await this.host.askPod("runPodSandbox", { pod }, () => this.#pending.sandboxes.set(sandbox, ips));
  }

  async runFailed(sandbox: Sandbox, ips: readonly string[]): Promise<void> {
    const pod = this.#pod(sandbox, ips);
    await this.host.tellPod("stopPodSandbox", { pod });
    await this.host.tellPod("removePodSandbox", { pod });
  }

  async updateSandbox(sandbox: Sandbox, { resources, overhead }: PodResources): Promise<void> {
    await this.host.askPod("updatePodSandbox", {
      pod: this.#pod(sandbox),
      ...(overhead === undefined ? {} : { overheadLinuxResources: resourcesToWire(overhead) }),
      ...(resources === undefined ? {} : { linuxResources: resourcesToWire(resources) }),
    });
  }

  tellPod(
    name: "postUpdatePodSandbox" | "stopPodSandbox" | "removePodSandbox",
    sandbox: Sandbox,
  ): Promise<void> {
    return this.host.tellPod(name, { pod: this.#pod(sandbox) });
  }

  async adjustLaunch(
    { container, sandbox, spec }: LaunchSubject,
    rules: RuleSubject,
  ): Promise<LaunchAdjustment[]> {
    const request = { pod: this.#pod(sandbox), container: containerMessage(container, spec) };
    const wire = await this.host.createContainer(request, rules, () =>
      this.#pending.containers.add(container),
    );
    const names = (wire.cdiDevices ?? []).flatMap(({ name }) => name ?? []);
    const devices = names.length === 0 ? [] : await this.#parts.resolveCdi(names, spec);
    if (Object.keys(wire).length === 0) return [];
    const { blockioClass, rdtClass } = wire.linux?.resources ?? {};
    const classes = await this.#parts.resolveClasses({
      blockIo: given(blockioClass, ({ value }) => value ?? ""),
      rdt: given(rdtClass, ({ value }) => value ?? ""),
    });
    return [...devices, ...classes, adjustmentFromWire(wire), ...rdtFromWire(wire.linux?.rdt)];
  }

  async launchFailed(container: Container): Promise<void> {
    const request = this.#about(container);
    await this.host.stopContainer(request);
    await this.host.tellContainer("removeContainer", request);
  }

  startContainer(container: Container): Promise<void> {
    return this.host.askContainer("startContainer", this.#about(container));
  }

  tellContainer(name: ContainerCall, container: Container): Promise<void> {
    return this.host.tellContainer(name, this.#about(container));
  }

  stopContainer(container: Container): Promise<void> {
    return this.host.stopContainer(this.#about(container));
  }

  async updateContainer(container: Container, change: LinuxResources): Promise<ResourceChange> {
    const linuxResources = resourcesToWire(change);
    const merged = await this.host.updateContainer({ ...this.#about(container), linuxResources });
    const { resources, more } = resourcesFromWire(merged);
    // NRI's messages have no room for it here.
    return {
      resources: { ...resources, oomScoreAdj: change.oomScoreAdj },
      ...(more === undefined ? {} : { more }),
    };
  }

  #pod(sandbox: Sandbox, ips?: readonly string[]): v1.PodSandboxSent {
    return podMessage(sandbox, { ips, netns: this.#parts.netnsOf(sandbox) });
  }

  #about(container: Container): v1.ContainerRequestSent {
    const sandbox = this.#parts.sandboxOf(container.record.sandboxId);
    return {
      ...(sandbox === undefined ? {} : { pod: this.#pod(sandbox) }),
      container: containerMessage(container, this.#specOf(container)),
    };
  }

  #specOf(container: Container): Spec | undefined {
    try {
      return this.#parts.specOf(container);
    } catch {
      // Its directory went with it, or with an earlier boot.
      return undefined;
    }
  }

  /** Containers that have ended are left out, as with every runtime: their part of the node is free again. */
  #snapshot(): { pods: v1.PodSandboxSent[]; containers: v1.ContainerSent[] } {
    const all = new Set([...this.#parts.containers(), ...this.#pending.containers]);
    const pending = [...this.#pending.sandboxes].filter(([{ record }]) => !record.committed);
    return {
      pods: [
        ...this.#parts.sandboxes().map((sandbox) => this.#pod(sandbox)),
        ...pending.map(([sandbox, ips]) => this.#pod(sandbox, ips)),
      ],
      containers: [...all]
        .filter(({ state }) => state !== "exited")
        .map((container) => containerMessage(container, this.#specOf(container))),
    };
  }

  async #fulfil({ updates, evictions }: Requests): Promise<void> {
    for (const { containerId, resources, ignoreFailure } of updates) {
      try {
        await this.#apply(containerId, resources);
      } catch (error) {
        // One that has ended since the plugin decided must not fail what is done for another container.
        const state = this.#find(containerId)?.state ?? "exited";
        if (!ignoreFailure && state !== "exited")
          throw wrapError(`update of container ${containerId} by a plugin`, error);
        this.#parts.log.debug("NRI update failed", { id: containerId, error: messageOf(error) });
      }
    }
    for (const eviction of evictions) this.#evict(eviction);
  }

  async #update(
    { update, evict }: v1.UpdateContainersRequest,
    plugin: string,
  ): Promise<v1.ContainerUpdateSent[]> {
    const failed: v1.ContainerUpdateSent[] = [];
    for (const one of update) {
      try {
        await this.#apply(one.containerId, one.linux?.resources ?? {});
      } catch (error) {
        if (!one.ignoreFailure) failed.push(one);
        this.#parts.log.info("NRI update failed", { plugin, id: one.containerId, error: messageOf(error) });
      }
    }
    for (const eviction of evict) this.#evict(eviction);
    return failed;
  }

  async #apply(id: string, resources: v1.LinuxResourcesSent): Promise<void> {
    if (this.#find(id) === undefined) throw notFound(`container ${JSON.stringify(id)} does not exist`);
    await this.#parts.updateContainer(id, resourcesFromWire(resources));
  }

  /** By the whole id: a plugin that sends a part of one is mistaken. */
  #find(id: string): Container | undefined {
    return this.#parts.containers().find((container) => container.id === id);
  }

  /** Nobody waits for it: the plugin is to go on, and the kubelet sees the end. */
  #evict({ containerId, reason }: v1.ContainerEviction): void {
    this.#parts.log.info("NRI plugin evicts a container", { id: containerId, reason });
    if (this.#find(containerId) === undefined) return;
    this.#parts.stopContainer(containerId, evictionGraceMs).catch((error: unknown) => {
      this.#parts.log.warn("container not evicted", { id: containerId, error: messageOf(error) });
    });
  }
}

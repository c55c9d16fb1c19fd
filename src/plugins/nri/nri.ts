// NRI as the rest of the daemon sees it. Without a plugin it is a socket and a few comparisons; with the first one the
// machinery is loaded.
import type { Socket } from "node:net";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { NriConfig } from "../../config/config.ts";
import type {
  ContainerParticipant,
  LaunchSubject,
  ResourceChange,
} from "../../container/container-participant.ts";
import type { Container } from "../../container/container-store.ts";
import type { LaunchAdjustment } from "../../container/launch-adjustment.ts";
import type { Spec } from "../../oci/spec.ts";
import type { LifecycleChange } from "../../sandbox/lifecycle-change.ts";
import type { LinuxResources } from "../../sandbox/sandbox-config.ts";
import type { SandboxParticipant } from "../../sandbox/sandbox-participant.ts";
import type { Sandbox } from "../../sandbox/sandbox-store.ts";
import type { PodResources } from "../../sandbox/update-sandbox-resources.ts";
import { checkRequiredPlugins, requiresPlugins, type RuleSubject } from "./adjustment-rules.ts";
import { installedPlugins, launchPlugin, type InstalledPlugin } from "./launch-plugin.ts";
import { listenForPlugins } from "./listen.ts";
import type { Relay } from "./relay.ts";

export interface NriParts {
  settings: NriConfig;
  /** Of cricket. */
  version: string;
  log: Log;
  /** Those that are listed. */
  sandboxes(): Sandbox[];
  sandboxOf(id: string): Sandbox | undefined;
  /** Where the network namespace of a sandbox is held; undefined where it has none of its own, or it is gone. */
  netnsOf(sandbox: Sandbox): string | undefined;
  containers(): Container[];
  /** Throws where the container's files are gone. */
  specOf(container: Container): Spec;
  updateContainer(id: string, change: ResourceChange): Promise<void>;
  stopContainer(id: string, timeoutMs: number): Promise<void>;
  /** What CDI devices bring to a container that so far is as `spec` says. */
  resolveCdi(names: readonly string[], spec: Spec): Promise<LaunchAdjustment[]>;
  /** What classes of block I/O and RDT bring; "" is none. */
  resolveClasses(names: {
    blockIo?: string | undefined;
    rdt?: string | undefined;
  }): Promise<LaunchAdjustment[]>;
}

/** Known to plugins and not yet listed: what a plugin that joins just now would miss. */
export interface Pending {
  /** With the addresses their records do not have yet. */
  sandboxes: Map<Sandbox, readonly string[]>;
  containers: Set<Container>;
}

export class Nri implements SandboxParticipant, ContainerParticipant {
  readonly #parts: NriParts;
  readonly #pending: Pending = { sandboxes: new Map(), containers: new Set() };
  #loading: Promise<Relay> | undefined;
  #relay: Relay | undefined;
  #listener: { close(): void } | undefined;

  constructor(parts: NriParts) {
    this.#parts = parts;
  }

  /** Starts the plugins that are installed, then takes connections. What fails is logged: the node works without. */
  async open(): Promise<void> {
    const { settings, log } = this.#parts;
    if (!settings.enabled) return;
    try {
      const plugins = installedPlugins(settings, (path, error) => this.#refused(path, error));
      await Promise.all(plugins.map((plugin) => this.#launch(plugin)));
    } catch (error) {
      log.warn("installed NRI plugins not found", { error: messageOf(error) });
    }
    try {
      if (settings.socket !== "")
        this.#listener = await listenForPlugins(settings.socket, (socket) => void this.#accept(socket));
    } catch (error) {
      log.warn("NRI plugins cannot connect", { socket: settings.socket, error: messageOf(error) });
    }
  }

  /** For verbose statuses. */
  status(): { enabled: boolean; plugins: string[] } {
    return { enabled: this.#parts.settings.enabled, plugins: this.#relay?.host.names() ?? [] };
  }

  async close(): Promise<void> {
    this.#listener?.close();
    await this.#relay?.host.close();
  }

  async #launch(plugin: InstalledPlugin): Promise<void> {
    await this.#admit(async (relay) => {
      const { socket, kill } = await launchPlugin(plugin);
      await relay.host.admit(socket, { ...plugin, origin: plugin.path, onClose: kill });
    }, plugin.path);
  }

  async #accept(socket: Socket): Promise<void> {
    await this.#admit((relay) => relay.host.admit(socket, { origin: "socket" }), "socket");
  }

  async #admit(admit: (relay: Relay) => Promise<void>, origin: string): Promise<void> {
    try {
      await admit(await this.#load());
    } catch (error) {
      this.#refused(origin, error);
    }
  }

  #refused(origin: string, error: unknown): void {
    this.#parts.log.warn("NRI plugin refused", { origin, error: messageOf(error) });
  }

  #load(): Promise<Relay> {
    this.#loading ??= import("./relay.ts").then(({ Relay: Loaded }) => {
      this.#relay = new Loaded(this.#parts, this.#pending);
      return this.#relay;
    });
    return this.#loading;
  }

  /** Undefined while there is nobody to talk to. */
  get #active(): Relay | undefined {
    return this.#relay?.host.isEmpty === false ? this.#relay : undefined;
  }

  beforeRun(sandbox: Sandbox, ips: readonly string[]): Promise<void> | undefined {
    return this.#active?.runSandbox(sandbox, ips);
  }

  runFailed(sandbox: Sandbox): void {
    const ips = this.#pending.sandboxes.get(sandbox);
    if (ips === undefined) return;
    this.#pending.sandboxes.delete(sandbox);
    this.#tell((relay) => relay.runFailed(sandbox, ips));
  }

  beforeUpdate(sandbox: Sandbox, change: PodResources): Promise<void> | undefined {
    return this.#active?.updateSandbox(sandbox, change);
  }

  afterUpdate(subject: Sandbox | Container): void {
    if ("monitor" in subject) this.#tell((relay) => relay.tellContainer("postUpdateContainer", subject));
    else this.#tell((relay) => relay.tellPod("postUpdatePodSandbox", subject));
  }

  beforeRelease(sandbox: Sandbox): Promise<void> | undefined {
    return this.#active?.tellPod("stopPodSandbox", sandbox);
  }

  adjustLaunch(subject: LaunchSubject): Promise<readonly LaunchAdjustment[]> | undefined {
    const { settings } = this.#parts;
    if (!settings.enabled) return undefined;
    const rules = ruleSubject(subject);
    if (this.#active !== undefined) return this.#active.adjustLaunch(subject, rules);
    this.#pending.containers.add(subject.container);
    if (!requiresPlugins(rules, settings)) return undefined;
    return checkRequiredPlugins(rules, [], settings).then(() => []);
  }

  launchFailed(container: Container): void {
    if (this.#pending.containers.delete(container)) this.#tell((relay) => relay.launchFailed(container));
  }

  beforeStart(container: Container): Promise<void> | undefined {
    return this.#active?.startContainer(container);
  }

  adjustUpdate(container: Container, change: LinuxResources): Promise<ResourceChange> | undefined {
    return this.#active?.updateContainer(container, change);
  }

  /** To be called with every change of a sandbox. */
  sandboxChanged(sandbox: Sandbox, change: LifecycleChange): void {
    if (change === "created") this.#pending.sandboxes.delete(sandbox);
    if (change === "deleted") this.#tell((relay) => relay.tellPod("removePodSandbox", sandbox));
  }

  /** To be called with every change of a container. */
  containerChanged(container: Container, change: LifecycleChange): void {
    if (change === "created") this.#pending.containers.delete(container);
    if (this.#active === undefined) return;
    if (change === "created") this.#tell((relay) => relay.tellContainer("postCreateContainer", container));
    else if (change === "started")
      this.#tell((relay) => relay.tellContainer("postStartContainer", container));
    else if (change === "stopped") this.#tell((relay) => relay.stopContainer(container));
    else this.#tell((relay) => relay.tellContainer("removeContainer", container));
  }

  /** The message is made at once, so that it says what was true then; plugins get it when their turn comes. */
  #tell(tell: (relay: Relay) => Promise<void>): void {
    const relay = this.#active;
    if (relay === undefined) return;
    tell(relay).catch((error: unknown) => {
      this.#parts.log.error("NRI plugins not told", { error: messageOf(error) });
    });
  }
}

function ruleSubject({ container, sandbox }: LaunchSubject): RuleSubject {
  const { config } = container.record;
  return {
    containerId: container.id,
    containerName: config.metadata.name,
    podAnnotations: sandbox.record.config.annotations,
    seccomp: config.security.privileged ? undefined : config.security.seccomp,
  };
}

// The pod network that CNI plugins provide.
import { existsSync, statfsSync } from "node:fs";
import { join } from "node:path";
import {
  CricketError,
  failedPrecondition,
  invalidArgument,
  messageOf,
  wrapError,
} from "../../base/errors.ts";
import { isId, shortId } from "../../base/ids.ts";
import { KeyedLock } from "../../base/keyed-lock.ts";
import type { Log } from "../../base/log.ts";
import { setLinkUp } from "../../linux/netlink-route.ts";
import { NetlinkSocket } from "../../linux/netlink-socket.ts";
import type {
  AttachRequest,
  DetachRequest,
  NetworkAttachment,
  NetworkCondition,
  PodNetwork,
} from "../pod-network.ts";
import { AttachmentCache, type CachedAttachment } from "./attachment-cache.ts";
import { capabilityArguments, cniArgs } from "./attachment-arguments.ts";
import { interfacesOf, podAddresses, podIps } from "./attachment-result.ts";
import type { CniHostPorts } from "./cni-host-ports.ts";
import { DetachRetries } from "./detach-retries.ts";
import { killStrays } from "./invocation.ts";
import type { JsonObject } from "./json-object.ts";
import { NetworkReadiness } from "./network-readiness.ts";
import { incompatibleVersion, PluginError } from "./plugin-error.ts";
import { defaultTimeouts, PluginChain, type CniTimeouts } from "./plugin-chain.ts";
import { SharedLock } from "./shared-lock.ts";

export interface CniNetworkConfig {
  cniConfDir: string;
  /** Searched in order. */
  cniBinDirs: readonly string[];
  /** False: configurations are not looked at; only what an earlier daemon attached is served, and removed in the end. */
  isEnabled?: boolean;
  /** For networks without a plugin for them; not given: such pods have none. */
  hostPorts?: CniHostPorts;
  /** A directory of this network's own: `results` in it holds the attachments. Survives reboots. */
  stateDir: string;
  timeouts?: Partial<CniTimeouts>;
}

const podInterface = "eth0";
const NSFS_MAGIC = 0x6e736673;
// A start waits this long for the plugins to say that they are ready; the answer may come later.
const firstProbeMs = 2_000;

export class CniNetwork implements PodNetwork {
  readonly #log: Log;
  readonly #chain: PluginChain;
  readonly #cache: AttachmentCache;
  readonly #readiness: NetworkReadiness;
  readonly #retries: DetachRetries;
  readonly #locks = new KeyedLock();
  readonly #collecting = new SharedLock();
  /** Attachments this process made or is making: what is not in it may have a plugin of an earlier daemon at work. */
  readonly #own = new Set<string>();
  readonly #hostPorts: CniHostPorts | undefined;
  #podCidrs: readonly string[] = [];
  #collection: Promise<void> = Promise.resolve();
  #checking: Promise<void> = Promise.resolve();
  #isClosed = false;
  #isRecovered = false;
  #collectedNetwork = "";

  /** Reads the configuration and begins to watch it. */
  constructor(config: CniNetworkConfig, log: Log) {
    this.#log = log;
    this.#hostPorts = config.hostPorts;
    this.#chain = new PluginChain(config.cniBinDirs, { ...defaultTimeouts, ...config.timeouts }, log);
    this.#cache = new AttachmentCache(join(config.stateDir, "results"), log);
    this.#retries = new DetachRetries((sandboxId) => this.#remove(sandboxId, undefined), log);
    const directory = config.isEnabled === false ? undefined : config.cniConfDir;
    this.#readiness = new NetworkReadiness(directory, this.#chain, log);
    this.#readiness.onReady = () => this.#collectLater();
  }

  /** False where no configuration asks for CNI. */
  get isConfigured(): boolean {
    return this.#readiness.isConfigured;
  }

  /** True for a sandbox that plugins may have made something for. */
  has(sandboxId: string): boolean {
    return this.#cache.get(sandboxId) !== undefined;
  }

  condition(): NetworkCondition {
    this.#hostPorts?.tend();
    return this.#readiness.condition();
  }

  /** Address ranges of this node, for plugins that take them from the runtime (capability ipRanges). */
  setPodCidrs(cidrs: readonly string[]): void {
    this.#podCidrs = cidrs;
  }

  /** Where this throws, what the plugins made is left to `detach`, which the caller owes in any case. */
  async attach(request: AttachRequest): Promise<NetworkAttachment> {
    const { sandboxId } = request;
    if (!isId(sandboxId)) throw invalidArgument(`sandbox id ${JSON.stringify(sandboxId)} is not an id`);
    const args = cniArgs(request);
    const capabilities = capabilityArguments(request, this.#podCidrs);
    return this.#collecting.shared(() =>
      this.#locks.run(sandboxId, async () => {
        if (this.has(sandboxId))
          throw new CricketError("already-exists", `sandbox ${shortId(sandboxId)} is attached already`);
        // A configuration that just changed is a moment away from being known.
        await this.#readiness.settle(firstProbeMs);
        const attachment = {
          containerId: sandboxId,
          interfaceName: podInterface,
          netnsPath: request.netnsPath,
          args,
          capabilityArguments: capabilities,
        };
        const cached = { plan: this.#readiness.plan(), attachment, result: undefined };
        return this.#add(cached, request);
      }),
    );
  }

  async #add(
    cached: CachedAttachment,
    { routeSocket, portMappings }: AttachRequest,
  ): Promise<NetworkAttachment> {
    const { containerId } = cached.attachment;
    this.#own.add(containerId);
    // Before ADD, which can half succeed: with the record detach finds what to undo, after a crash too.
    const begun = await Promise.allSettled([this.#cache.begin(cached), raiseLoopback(routeSocket)]);
    for (const step of begun) if (step.status === "rejected") throw step.reason;
    try {
      const ports = opensHostPorts(cached) ? undefined : this.#hostPorts;
      const run = (): Promise<JsonObject> => this.#runAdd(cached);
      const result = await (ports === undefined
        ? run()
        : ports.open(containerId, portMappings, run, (made) => podIps(made, podInterface)));
      return { ips: podAddresses(result, podInterface), interfaceName: podInterface };
    } catch (error) {
      if (error instanceof PluginError && error.pluginCode === incompatibleVersion) this.#readiness.doubt();
      throw wrapError(`attach sandbox ${shortId(containerId)} to network ${cached.plan.config.name}`, error);
    }
  }

  async #runAdd(cached: CachedAttachment): Promise<JsonObject> {
    const result = await this.#chain.add(cached.plan, cached.attachment);
    this.#cache.complete(cached, result);
    if (podAddresses(result, podInterface).length === 0)
      throw new CricketError("internal", "the plugins gave the pod no address");
    return result;
  }

  async detach({ sandboxId, netnsPath }: DetachRequest): Promise<void> {
    try {
      await this.#remove(sandboxId, netnsPath);
      this.#retries.forget(sandboxId);
    } catch (error) {
      // The caller may give the sandbox up all the same; the address must come free some day.
      this.#retries.add(sandboxId);
      throw wrapError(`detach sandbox ${shortId(sandboxId)}`, error);
    }
  }

  async check(sandboxId: string): Promise<void> {
    const what = `network of sandbox ${shortId(sandboxId)}`;
    const cached = this.#cache.get(sandboxId);
    if (cached?.result === undefined) throw failedPrecondition(`${what}: it is not attached`);
    const { plan, attachment, result } = cached;
    try {
      await this.#locks.run(sandboxId, () => this.#chain.check(plan, attachment, result));
    } catch (error) {
      throw failedPrecondition(`${what}: ${messageOf(error)}`);
    }
  }

  /** The interface on the host whose other end is in the pod may be one of these; none for a plugin without pairs. */
  hostInterfaces(sandboxId: string): string[] {
    const result = this.#cache.get(sandboxId)?.result;
    return result === undefined
      ? []
      : interfacesOf(result)
          .filter(({ sandbox, name }) => sandbox === "" && name !== "")
          .map(({ name }) => name);
  }

  sandboxIds(): string[] {
    return this.#cache.list().map(({ attachment }) => attachment.containerId);
  }

  /**
   * Attachments of sandboxes that are gone (with a reboot, or half made) are removed, plugins told to collect garbage,
   * and asked whether they still have what they made for the others; all of it goes on after this has returned, so
   * that a plugin that hangs does not hold up the start.
   */
  async recover(live: readonly DetachRequest[]): Promise<void> {
    const liveIds = new Set(live.map(({ sandboxId }) => sandboxId));
    await this.#recoverPorts(live);
    for (const sandboxId of this.sandboxIds()) if (!liveIds.has(sandboxId)) this.#retries.add(sandboxId, 0);
    this.#isRecovered = true;
    await this.#readiness.settle(firstProbeMs);
    this.#collectLater();
    this.#checking = this.#checkAll(live);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#readiness.close();
    this.#retries.close();
    await this.#hostPorts?.close();
  }

  /** Resolves when what `recover` began has ended. */
  async settle(): Promise<void> {
    await this.#retries.settle();
    await this.#readiness.settle(Number.POSITIVE_INFINITY);
    await this.#collection;
    await this.#checking;
  }

  async #remove(sandboxId: string, netnsPath: string | undefined): Promise<void> {
    await this.#collecting.shared(() =>
      this.#locks.run(sandboxId, async () => {
        const cached = this.#cache.get(sandboxId);
        if (cached === undefined) return;
        if (cached.result === undefined && !this.#own.has(sandboxId)) await killStrays(sandboxId);
        await this.#hostPorts?.release(sandboxId);
        const attachment = withLivingNetns(cached.attachment, netnsPath);
        await this.#chain.delete(cached.plan, attachment, cached.result);
        this.#cache.delete(cached);
        this.#own.delete(sandboxId);
      }),
    );
  }

  // Once for each network: what was left by earlier daemons and other times.
  #collectLater(): void {
    const plan = this.#readiness.answered;
    if (!this.#isRecovered || plan === undefined || plan.config.name === this.#collectedNetwork) return;
    this.#collectedNetwork = plan.config.name;
    this.#collection = this.#retries
      .settle()
      .then(() =>
        this.#collecting.exclusive(async () => {
          const valid = this.#cache
            .list()
            .filter((cached) => cached.plan.config.name === plan.config.name)
            // Given up: where its DEL fails at one plugin, the others may let go of it all the same.
            .filter(({ attachment }) => !this.#retries.isWaiting(attachment.containerId))
            .map(({ attachment }) => ({
              containerID: attachment.containerId,
              ifname: attachment.interfaceName,
            }));
          return this.#chain.collectGarbage(plan, valid);
        }),
      )
      .then((failures) => {
        for (const { message } of failures)
          this.#log.warn("network garbage not collected", { error: message });
      });
  }

  // The CRI has no word for a pod whose network is broken: whoever looks for the reason finds it in the log.
  async #checkAll(live: readonly DetachRequest[]): Promise<void> {
    for (const { sandboxId } of live) {
      if (this.#isClosed) return;
      if (this.#cache.get(sandboxId)?.result === undefined) continue;
      await this.check(sandboxId).catch((error: unknown) =>
        this.#log.warn("network of a pod is not as it was made", {
          sandbox: shortId(sandboxId),
          error: messageOf(error),
        }),
      );
    }
  }

  async #recoverPorts(live: readonly DetachRequest[]): Promise<void> {
    // Without an attachment now there was none for whose ports an earlier daemon could have set rules.
    if (this.#hostPorts === undefined || this.sandboxIds().length === 0) return;
    const pods = live.flatMap(({ sandboxId, portMappings }) => {
      const cached = this.#cache.get(sandboxId);
      if (cached?.result === undefined || opensHostPorts(cached)) return [];
      return [{ sandboxId, portMappings, podIps: podIps(cached.result, podInterface) }];
    });
    await this.#hostPorts
      .recover(pods)
      .catch((error: unknown) => this.#log.warn("host ports not recovered", { error: messageOf(error) }));
  }
}

function opensHostPorts({ plan }: CachedAttachment): boolean {
  return plan.config.plugins.some(({ capabilities }) => capabilities.has("portMappings"));
}

async function raiseLoopback(routeSocket: number): Promise<void> {
  await NetlinkSocket.over(routeSocket).request([setLinkUp({ name: "lo" })]);
}

// After a reboot the pin is gone, or an empty file: plugins are to know that there is nothing to look for
// (cri-o#2849: another namespace under the old name would be worse).
function withLivingNetns<T extends { netnsPath: string }>(attachment: T, path: string | undefined): T {
  const netnsPath = path ?? attachment.netnsPath;
  const isAlive = existsSync(netnsPath) && statfsSync(netnsPath).type === NSFS_MAGIC;
  return { ...attachment, netnsPath: isAlive ? netnsPath : "" };
}

// Which configuration is in use, and whether its plugins can serve it: the NetworkReady condition.
import { isDeepStrictEqual } from "node:util";
import { setTimeout as delay } from "node:timers/promises";
import { CricketError, messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { NetworkCondition } from "../pod-network.ts";
import { DirectoryWatch, loadNetworkConfig, type LoadedConfig } from "./config-directory.ts";
import type { CniNetworkPlan, PluginChain } from "./plugin-chain.ts";
import { incompatibleVersion, PluginError } from "./plugin-error.ts";

const notReady = (message: string): NetworkCondition => ({
  ready: false,
  reason: "NetworkPluginNotReady",
  message,
});

const unanswered = (loaded: LoadedConfig): string => {
  const name = loaded.configured ? (loaded.config?.name ?? "") : "";
  return `the plugins of network ${name} have not answered yet`;
};

// While the network is not ready somebody waits for it; while it is, the kubelet's own questions are often enough.
const retryMs = 1_000;
const staleMs = 5_000;

export class NetworkReadiness {
  /** Called whenever the network becomes ready. */
  onReady: () => void = () => {};
  readonly #directory: string | undefined;
  readonly #chain: PluginChain;
  readonly #log: Log;
  readonly #watch: DirectoryWatch | undefined;
  #loaded: LoadedConfig = { configured: false };
  #plan: CniNetworkPlan | undefined;
  #condition: NetworkCondition = notReady("the plugins have not been asked yet");
  #probe: Promise<void> | undefined;
  #probedAtMs = 0;
  #retry: NodeJS.Timeout | undefined;
  #generation = 0;
  #closed = false;

  /** `directory` undefined: there is no configuration, and none will come. */
  constructor(directory: string | undefined, chain: PluginChain, log: Log) {
    this.#directory = directory;
    this.#chain = chain;
    this.#log = log;
    this.#watch =
      directory === undefined ? undefined : new DirectoryWatch(directory, () => this.#load(), log);
    this.#load();
  }

  get isConfigured(): boolean {
    return this.#loaded.configured;
  }

  /** From memory; asks the plugins again in the background when the last answer is old. */
  condition(): NetworkCondition {
    if (performance.now() - this.#probedAtMs > staleMs) this.#begin();
    return this.#condition;
  }

  /** Undefined until the plugins of the configuration in use have answered. */
  get answered(): CniNetworkPlan | undefined {
    return this.#condition.ready ? this.#plan : undefined;
  }

  /** What attachments are made with now. @throws unavailable */
  plan(): CniNetworkPlan {
    if (this.#plan !== undefined) return this.#plan;
    throw new CricketError("unavailable", this.#condition.message || unanswered(this.#loaded));
  }

  /** To be called when a plugin refused the version: it was replaced by one that speaks others. */
  doubt(): void {
    this.#plan = undefined;
    this.#begin();
  }

  /** Resolves when the answer to the question under way is there, or when the time is over. */
  async settle(timeoutMs: number): Promise<void> {
    const probe = this.#probe ?? Promise.resolve();
    if (!Number.isFinite(timeoutMs)) return probe;
    const waiting = new AbortController();
    const { signal } = waiting;
    await Promise.race([probe, delay(timeoutMs, undefined, { signal, ref: false }).catch(() => {})]);
    waiting.abort();
  }

  close(): void {
    this.#closed = true;
    this.#watch?.close();
    clearTimeout(this.#retry);
  }

  #load(): void {
    const loaded = this.#tryLoad();
    // Network add-ons keep other files here, with tokens that they renew: no reason to doubt the network.
    if (this.#generation > 0 && isDeepStrictEqual(loaded, this.#loaded)) return;
    this.#generation++;
    this.#plan = undefined;
    this.#probe = undefined;
    clearTimeout(this.#retry);
    this.#loaded = loaded;
    if (!loaded.configured) {
      this.#condition = notReady(`no network configuration in ${this.#directory ?? "any directory"}`);
      return;
    }
    if (loaded.config === undefined) {
      this.#condition = notReady(loaded.problem);
      this.#log.warn("no valid network configuration", { error: loaded.problem });
      return;
    }
    this.#log.info("network configuration", { path: loaded.path, network: loaded.config.name });
    // A network that works is taken to go on until the plugins say otherwise: an add-on that rewrites its configuration
    // is no reason for the scheduler to leave the node. Attachments wait for the answer.
    if (!this.#condition.ready) this.#condition = notReady(unanswered(loaded));
    this.#begin();
  }

  #tryLoad(): LoadedConfig {
    if (this.#directory === undefined) return { configured: false };
    try {
      return loadNetworkConfig(this.#directory);
    } catch (error) {
      return { configured: true, config: undefined, problem: messageOf(error) };
    }
  }

  #begin(): void {
    if (this.#probe !== undefined || this.#closed || !this.#loaded.configured) return;
    const { config } = this.#loaded;
    if (config === undefined) return;
    const generation = this.#generation;
    this.#probe = this.#ask(config).then((outcome) => {
      if (generation !== this.#generation) return;
      this.#probe = undefined;
      this.#probedAtMs = performance.now();
      this.#settle(outcome);
    });
  }

  async #ask(config: CniNetworkPlan["config"]): Promise<{ plan?: CniNetworkPlan; problem?: string }> {
    let plan = this.#plan;
    try {
      plan ??= await this.#chain.plan(config);
      await this.#chain.status(plan);
      return { plan };
    } catch (error) {
      const isOutdated = error instanceof PluginError && error.pluginCode === incompatibleVersion;
      return { ...(plan === undefined || isOutdated ? {} : { plan }), problem: messageOf(error) };
    }
  }

  #settle({ plan, problem }: { plan?: CniNetworkPlan; problem?: string }): void {
    const wasReady = this.#condition.ready;
    const isNew = this.#plan === undefined;
    this.#plan = plan;
    this.#condition = problem === undefined ? { ready: true, reason: "", message: "" } : notReady(problem);
    if (problem !== undefined) {
      if (wasReady) this.#log.warn("network is not ready", { error: problem });
      if (!this.#closed) this.#retry = setTimeout(() => this.#begin(), retryMs).unref();
    } else if (!wasReady || isNew) {
      this.#log.info("network is ready", { network: plan?.config.name, cni: plan?.version });
      this.onReady();
    }
  }
}

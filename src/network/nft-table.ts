// The nftables table of the pod network in the kernel: masquerading of the subnets, and the host ports of all pods.
import { renderRuleset, renderTableRemoval, type RulesetOptions, type ServedPort } from "./nft-ruleset.ts";
import { runTool } from "./run-tool.ts";

export class NftTable {
  readonly #nft: string;
  readonly #options: RulesetOptions;
  readonly #ports = new Map<string, readonly ServedPort[]>();
  #running: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;
  /** The kernel's table may differ from what this object wants. */
  #stale = true;

  constructor(nft: string, options: RulesetOptions) {
    this.#nft = nft;
    this.#options = options;
  }

  /** Adds the ports of a pod, all or none. Throws what nft says. */
  async serve(sandboxId: string, ports: readonly ServedPort[]): Promise<void> {
    this.adopt(sandboxId, ports);
    try {
      await this.apply();
    } catch (error) {
      this.#ports.delete(sandboxId);
      throw error;
    }
  }

  /** Notes the ports of a pod for the next `apply`. */
  adopt(sandboxId: string, ports: readonly ServedPort[]): void {
    this.#ports.set(sandboxId, ports);
    this.#stale = true;
  }

  /** Removes the ports of a pod and nothing else. Idempotent. */
  async withdraw(sandboxId: string): Promise<void> {
    if (this.#ports.delete(sandboxId)) this.#stale = true;
    if (this.#stale) await this.apply();
  }

  /**
   * Replaces the kernel's table in one transaction. Changes that come while nft runs share the next run, so that a
   * hundred pods which start together do not cost a hundred processes.
   */
  async apply(): Promise<void> {
    this.#next ??= this.#running
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        this.#running = this.#write();
        return this.#running;
      });
    return this.#next;
  }

  /** Removes the table. Idempotent. */
  async remove(): Promise<void> {
    this.#stale = true;
    await runTool(this.#nft, ["-f", "-"], renderTableRemoval(this.#options.bridgeName));
  }

  async #write(): Promise<void> {
    this.#stale = false;
    try {
      await runTool(this.#nft, ["-f", "-"], renderRuleset(this.#options, [...this.#ports.values()].flat()));
    } catch (error) {
      this.#stale = true;
      throw error;
    }
  }
}

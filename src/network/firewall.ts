// Packet rules for the pods of the bridge, with the tool the host has: nft, else iptables, else none.
import type { Log } from "../base/log.ts";
import { failedPrecondition, messageOf } from "../base/errors.ts";
import { ForwardPolicy, readForwardChains } from "./forward-policy.ts";
import type { RulesetOptions } from "./nft-ruleset.ts";
import { NftTable } from "./nft-table.ts";
import { runTool, type ToolFinder } from "../linux/run-tool.ts";
import { formatSubnet, type Subnet } from "./subnet.ts";

export class Firewall {
  readonly #find: ToolFinder;
  readonly #options: RulesetOptions;
  readonly #log: Log;
  readonly #forwarding: ForwardPolicy;
  #table: NftTable | undefined;
  #ready: Promise<void> | undefined;
  #limitation = "";

  /** `find` gives the path of a tool of the host, undefined where it is missing. */
  constructor(options: RulesetOptions, find: ToolFinder, log: Log, forwardChains = readForwardChains) {
    this.#options = options;
    this.#find = find;
    this.#log = log;
    this.#forwarding = new ForwardPolicy(options, { find, chains: forwardChains }, log);
    const nft = find("nft");
    if (nft !== undefined) this.#table = new NftTable(nft, options, log);
  }

  /** Undefined where nft is missing or the kernel refused its rules. */
  get table(): NftTable | undefined {
    return this.#table;
  }

  /** What pods cannot do for lack of rules, as a sentence; "" where they can do all. */
  get limitation(): string {
    return this.#limitation === "" ? this.#forwarding.limitation : this.#limitation;
  }

  /** Writes the rules if they have not been written yet. Never throws: a node without rules still runs pods. */
  async ensure(): Promise<void> {
    this.#ready ??= Promise.all([this.#setUp(), this.#forwarding.ensure()]).then(() => {});
    await this.#ready;
  }

  /**
   * Writes the rules again where somebody removed them: a restart of nftables or of another firewall flushes whatever is
   * there. Does nothing before `ensure`. Never throws.
   */
  async tend(): Promise<void> {
    if (this.#ready === undefined) return;
    await this.#ready;
    await this.#forwarding.ensure();
    try {
      if (this.#table === undefined) return await this.#tendMasquerade();
      if (await this.#table.isWhole()) return;
      await this.#table.apply();
      this.#log.warn("the packet rules were gone, and are written again");
    } catch (error) {
      this.#log.warn("packet rules could not be looked after", { error: messageOf(error) });
    }
  }

  /** Removes all rules. Idempotent. */
  async remove(): Promise<void> {
    this.#ready = undefined;
    await this.#forwarding.remove();
    if (this.#table !== undefined) return this.#table.remove();
    for (const subnet of this.#options.subnets) await this.#masquerade(subnet, "-D").catch(() => {});
  }

  async #setUp(): Promise<void> {
    const failures: string[] = [];
    if (this.#table === undefined) failures.push("nft was not found");
    else {
      try {
        await this.#table.apply();
        return;
      } catch (error) {
        failures.push(messageOf(error));
        this.#table = undefined;
        this.#log.warn("nft rules could not be set", { reason: messageOf(error) });
      }
    }
    try {
      for (const subnet of this.#options.subnets) await this.#ensureMasquerade(subnet);
    } catch (error) {
      failures.push(messageOf(error));
      this.#limitation = "pods reach only this node and each other: no packet rules could be set";
      this.#log.warn(this.#limitation, { reason: failures.join("; ") });
    }
  }

  async #tendMasquerade(): Promise<void> {
    if (this.#limitation !== "") return;
    for (const subnet of this.#options.subnets) await this.#ensureMasquerade(subnet);
  }

  async #ensureMasquerade(subnet: Subnet): Promise<void> {
    try {
      await this.#masquerade(subnet, "-C");
    } catch {
      await this.#masquerade(subnet, "-A");
    }
  }

  async #masquerade(subnet: Subnet, command: "-A" | "-C" | "-D"): Promise<void> {
    const name = subnet.family === 4 ? "iptables" : "ip6tables";
    const tool = this.#find(name);
    if (tool === undefined) throw failedPrecondition(`${name} was not found`);
    const range = formatSubnet(subnet);
    const match = ["-s", range, "!", "-d", range, "!", "-o", this.#options.bridgeName];
    await runTool(tool, ["-w", "5", "-t", "nat", command, "POSTROUTING", ...match, "-j", "MASQUERADE"]);
  }
}

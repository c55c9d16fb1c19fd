// What other firewalls do with packets that this node forwards. A chain of theirs that drops them has the last word,
// whatever ours says: docker sets such a policy, and so do many an operator's nftables.conf and firewalld.
import { failedPrecondition, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { listForwardChains, type ForwardChain } from "../linux/netlink-nftables.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "../linux/netlink-socket.ts";
import { runTool, type ToolFinder } from "../linux/run-tool.ts";
import type { RulesetOptions } from "./nft-ruleset.ts";

export interface ForwardPolicyHost {
  find: ToolFinder;
  chains: () => Promise<ForwardChain[]>;
}

/** The chains of this node. */
export async function readForwardChains(): Promise<ForwardChain[]> {
  const socket = NetlinkSocket.open(NETLINK_NETFILTER);
  try {
    return await listForwardChains(socket);
  } finally {
    socket.close();
  }
}

const tools: Readonly<Record<string, string>> = { ip: "iptables", ip6: "ip6tables" };

/** The chain that iptables of our days keeps its FORWARD rules in. */
const isOfIptables = ({ family, table, name }: ForwardChain): boolean =>
  family in tools && table === "filter" && name === "FORWARD";

export class ForwardPolicy {
  readonly #bridgeName: string;
  readonly #families: ReadonlySet<string>;
  readonly #host: ForwardPolicyHost;
  readonly #log: Log;
  #limitation = "";

  /** Does nothing for a network without subnets: its plugins see to it. */
  constructor({ bridgeName, subnets }: RulesetOptions, host: ForwardPolicyHost, log: Log) {
    this.#bridgeName = bridgeName;
    this.#families = new Set(subnets.map(({ family }) => (family === 4 ? "ip" : "ip6")));
    this.#host = host;
    this.#log = log;
  }

  /** What pods cannot do, as a sentence; "" where nothing is known to be in their way. */
  get limitation(): string {
    return this.#limitation;
  }

  /**
   * Lets the bridge's packets through where iptables drops what no rule decides on; other firewalls are their operator's,
   * and named. Never throws.
   */
  async ensure(): Promise<void> {
    const problems: string[] = [];
    for (const chain of await this.#chains()) {
      const problem = await this.#pass(chain);
      if (problem !== undefined) problems.push(problem);
    }
    const limitation = problems.join("; ");
    if (limitation !== "" && limitation !== this.#limitation) this.#log.warn(limitation);
    this.#limitation = limitation;
  }

  /** Idempotent. Never throws. */
  async remove(): Promise<void> {
    for (const chain of await this.#chains()) {
      if (!isOfIptables(chain)) continue;
      for (const direction of ["-i", "-o"]) await this.#change(chain, "-D", direction).catch(() => {});
    }
  }

  async #chains(): Promise<ForwardChain[]> {
    if (this.#families.size === 0) return [];
    try {
      const chains = await this.#host.chains();
      return chains.filter(({ family }) => family === "inet" || this.#families.has(family));
    } catch (error) {
      // No nftables in this kernel, or no right to look.
      this.#log.debug("forward chains not listed", { error: messageOf(error) });
      return [];
    }
  }

  /** Undefined where packets of pods pass the chain, as far as we can tell. */
  async #pass(chain: ForwardChain): Promise<string | undefined> {
    const what = `chain ${chain.family} ${chain.table} ${chain.name}`;
    // It ends in a rule that rejects what no zone lets through.
    if (chain.table === "firewalld")
      return `firewalld may reject what pods send: firewall-cmd --zone=trusted --add-interface=${this.#bridgeName}`;
    if (chain.policy === "accept") return undefined;
    if (!isOfIptables(chain))
      return `${what} drops what pods send beyond their bridge, unless a rule of it accepts`;
    try {
      for (const direction of ["-i", "-o"]) await this.#accept(chain, direction);
      return undefined;
    } catch (error) {
      return `${what} drops what pods send beyond their bridge: ${messageOf(error)}`;
    }
  }

  // At the end, so that what the operator forbids stays forbidden.
  async #accept(chain: ForwardChain, direction: string): Promise<void> {
    try {
      await this.#change(chain, "-C", direction);
    } catch {
      await this.#change(chain, "-A", direction);
    }
  }

  async #change({ family }: ForwardChain, command: string, direction: string): Promise<void> {
    const name = tools[family] ?? "iptables";
    const tool = this.#host.find(name);
    if (tool === undefined) throw failedPrecondition(`${name} was not found`);
    await runTool(tool, ["-w", "5", command, "FORWARD", direction, this.#bridgeName, "-j", "ACCEPT"]);
  }
}

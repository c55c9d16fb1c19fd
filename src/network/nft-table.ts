// The nftables table of the pod network in the kernel: masquerading of the subnets, and the host ports of all pods.
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { forgetUdpFlows } from "../linux/netlink-conntrack.ts";
import { chainsWithRules } from "../linux/netlink-nftables.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "../linux/netlink-socket.ts";
import {
  renderRuleset,
  renderTableRemoval,
  tableName,
  type RulesetOptions,
  type ServedPort,
} from "./nft-ruleset.ts";
import { runTool } from "../linux/run-tool.ts";

export class NftTable {
  readonly #log: Log;
  readonly #nft: string;
  readonly #options: RulesetOptions;
  readonly #ports = new Map<string, readonly ServedPort[]>();
  #running: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;
  /**
   * A change of the ports has not reached the kernel. False at first: what the kernel has from before a restart must
   * stay until the ports of all live pods are known.
   */
  #stale = false;

  constructor(nft: string, options: RulesetOptions, log: Log) {
    this.#log = log;
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
    const ports = this.#ports.get(sandboxId) ?? [];
    if (this.#ports.delete(sandboxId)) this.#stale = true;
    if (this.#stale) await this.apply();
    await this.#forgetFlows(ports.filter((port) => port.protocol === "udp"));
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

  /** False where somebody took the table away, or the rules out of it. */
  async isWhole(): Promise<boolean> {
    await this.settle();
    const { bridgeName, subnets } = this.#options;
    const socket = NetlinkSocket.open(NETLINK_NETFILTER);
    try {
      const found = await chainsWithRules(socket, tableName(bridgeName));
      const wanted = ["host-ports", "prerouting", "output", ...(subnets.length > 0 ? ["postrouting"] : [])];
      return wanted.every((chain) => found.has(chain));
    } finally {
      socket.close();
    }
  }

  /** Resolves when nothing is being written. Never throws: whoever asked for the change has the failure. */
  async settle(): Promise<void> {
    await (this.#next ?? this.#running).catch(() => {});
  }

  /** Removes the table. Idempotent. */
  async remove(): Promise<void> {
    this.#stale = false;
    await runTool(this.#nft, ["-f", "-"], renderTableRemoval(this.#options.bridgeName));
  }

  // A client that goes on sending keeps its flow, and with it the way to a pod that is gone. TCP ends by itself.
  async #forgetFlows(ports: readonly ServedPort[]): Promise<void> {
    if (ports.length === 0) return;
    const socket = NetlinkSocket.open(NETLINK_NETFILTER);
    try {
      for (const port of ports) await forgetUdpFlows(socket, port.podIp.family, port.hostPort);
    } catch (error) {
      this.#log.warn("UDP flows to a closed host port were not forgotten", { error: messageOf(error) });
    } finally {
      socket.close();
    }
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

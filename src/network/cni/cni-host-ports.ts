// Host ports of pods whose network has no plugin for them: opened as for pods of the bridge, so that a hostPort does not
// depend on what the network was built of. Rules are in a table of their own.
import type { Log } from "../../base/log.ts";
import { findTool } from "../../linux/run-tool.ts";
import { Firewall } from "../firewall.ts";
import { HostPorts, type HostPortMode, type PodIp } from "../host-ports.ts";
import type { PortMapping } from "../pod-network.ts";
import { Upkeep } from "../upkeep.ts";

export interface PortsToRecover {
  sandboxId: string;
  portMappings: readonly PortMapping[];
  podIps: readonly PodIp[];
}

export class CniHostPorts {
  readonly #firewall: Firewall;
  readonly #ports: HostPorts;
  readonly #upkeep = new Upkeep(() => this.#firewall.tend());
  #isUsed = false;

  /** `bridgeName` makes the table's name, so that two daemons on one node do not meet. Does nothing yet. */
  constructor({ bridgeName, mode }: { bridgeName: string; mode: HostPortMode }, log: Log) {
    this.#firewall = new Firewall({ bridgeName: `${bridgeName}-cni`, subnets: [] }, findTool, log);
    this.#ports = new HostPorts(mode, () => this.#firewall.table, log);
  }

  /**
   * Opens the ports to the addresses in what `attach` has made.
   * @throws as `attach`, HostPorts.claim and .open; then `release` is owed
   */
  async open<Result>(
    sandboxId: string,
    mappings: readonly PortMapping[],
    attach: () => Promise<Result>,
    podIpsOf: (result: Result) => readonly PodIp[],
  ): Promise<Result> {
    // Before the plugins run: a port that is taken costs nothing then.
    const ports = this.#ports.claim(sandboxId, mappings);
    const result = await attach();
    if (ports.length === 0) return result;
    this.#isUsed = true;
    await this.#firewall.ensure();
    await this.#ports.open(sandboxId, ports, podIpsOf(result));
    return result;
  }

  /** Begins to look whether the rules are still there; returns at once. */
  tend(): void {
    this.#upkeep.begin();
  }

  /** Idempotent. */
  async release(sandboxId: string): Promise<void> {
    await this.#ports.release(sandboxId);
  }

  /** After a restart: rules of pods that are gone go, too. */
  async recover(pods: readonly PortsToRecover[]): Promise<void> {
    for (const { sandboxId, portMappings, podIps } of pods)
      await this.#ports.recover(sandboxId, portMappings, podIps);
    this.#isUsed = true;
    if (this.#ports.isEmpty) await this.#removeRules();
    else await this.#firewall.ensure();
  }

  /** Ports of pods that live on are served by their rules alone from here on. */
  async close(): Promise<void> {
    await this.#upkeep.close();
    await this.#ports.close();
    if (this.#isUsed && this.#ports.isEmpty) await this.#removeRules();
  }

  async #removeRules(): Promise<void> {
    this.#isUsed = false;
    await this.#firewall.remove();
  }
}

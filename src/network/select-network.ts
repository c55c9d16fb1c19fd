// The pod network of the node: CNI plugins where a configuration asks for them, else the embedded bridge. A pod stays
// with what attached it, whatever the configuration says later: CNI keeps a record of each attachment from before its
// first step, and what has none is the bridge's.
import { join } from "node:path";
import type { Log } from "../base/log.ts";
import type { InterfaceStatistics } from "../linux/netlink-route.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "../linux/netlink-socket.ts";
import { createBridgeNetwork, type BridgeNetwork, type BridgeNetworkConfig } from "./bridge-network.ts";
import { findLink } from "./bridge.ts";
import { CniHostPorts } from "./cni/cni-host-ports.ts";
import { CniNetwork, type CniNetworkConfig } from "./cni/cni-network.ts";
import { PodCidrs } from "./cni/pod-cidrs.ts";
import { seenFromPod } from "./pod-link.ts";
import type {
  AttachRequest,
  DetachRequest,
  NetworkAttachment,
  NetworkCondition,
  PodNetwork,
} from "./pod-network.ts";

/** "auto": CNI where a configuration asks for it, else the bridge. */
export type NetworkMode = "auto" | "bridge" | "cni";

export interface SelectNetworkConfig
  extends BridgeNetworkConfig, Pick<CniNetworkConfig, "cniConfDir" | "cniBinDirs"> {
  mode: NetworkMode;
  /** Outside `stateDir`, which the bridge empties after a reboot: just then these records are needed. */
  cniStateDir: string;
}

/** Throws invalid-argument that names the setting. Touches nothing but the two directories. */
export function selectNetwork(config: SelectNetworkConfig, log: Log): SelectedNetwork {
  const bridge = createBridgeNetwork(config, log);
  const { mode, bridgeName, cniConfDir, cniBinDirs, cniStateDir: stateDir } = config;
  const hostPorts = new CniHostPorts({ bridgeName, mode: config.hostPorts }, log);
  const isEnabled = mode !== "bridge";
  const cni = new CniNetwork({ cniConfDir, cniBinDirs, stateDir, isEnabled, hostPorts }, log);
  return new SelectedNetwork(mode, { bridge, cni }, new PodCidrs(join(stateDir, "pod-cidrs")));
}

/** So many are asked for one by one. */
const fewPods = 3;

export class SelectedNetwork implements PodNetwork {
  readonly #mode: NetworkMode;
  readonly #bridge: BridgeNetwork;
  readonly #cni: CniNetwork;
  readonly #podCidrs: PodCidrs;
  readonly #socket = NetlinkSocket.open(NETLINK_ROUTE);

  constructor(
    mode: NetworkMode,
    { bridge, cni }: { bridge: BridgeNetwork; cni: CniNetwork },
    podCidrs: PodCidrs,
  ) {
    this.#mode = mode;
    this.#bridge = bridge;
    this.#cni = cni;
    this.#podCidrs = podCidrs;
    cni.setPodCidrs(podCidrs.current);
  }

  condition(): NetworkCondition {
    // Both are asked: each looks after the pods it has, whichever gets the new ones.
    const [ofBridge, ofCni] = [this.#bridge.condition(), this.#cni.condition()];
    return this.#ofNewPods() === this.#cni ? ofCni : ofBridge;
  }

  attach(request: AttachRequest): Promise<NetworkAttachment> {
    return this.#ofNewPods().attach(request);
  }

  detach(request: DetachRequest): Promise<void> {
    return this.#of(request.sandboxId).detach(request);
  }

  check(sandboxId: string): Promise<void> {
    return this.#of(sandboxId).check(sandboxId);
  }

  async recover(live: readonly DetachRequest[]): Promise<void> {
    const ofCni = live.filter(({ sandboxId }) => this.#cni.has(sandboxId));
    const ofBridge = live.filter(({ sandboxId }) => !this.#cni.has(sandboxId));
    await Promise.all([this.#bridge.recover(ofBridge), this.#cni.recover(ofCni)]);
  }

  async close(): Promise<void> {
    this.#socket.close();
    await Promise.all([this.#bridge.close(), this.#cni.close()]);
  }

  /** The address range the cluster gave this node, for plugins that take it; survives restarts. */
  setPodCidr(cidr: string): void {
    this.#podCidrs.set(cidr);
    this.#cni.setPodCidrs(this.#podCidrs.current);
  }

  /** Counters of these pods' interfaces by sandbox id: as `statisticsOf`, and for many with one look at all links. */
  async statistics(sandboxIds: readonly string[]): Promise<Map<string, InterfaceStatistics>> {
    const ofBridge = sandboxIds.filter((id) => !this.#cni.has(id));
    const dump = ofBridge.length > fewPods ? await this.#bridge.statistics() : undefined;
    const statistics = new Map<string, InterfaceStatistics>();
    for (const id of sandboxIds) {
      const known = dump?.get(id) ?? (await this.statisticsOf(id));
      if (known !== undefined) statistics.set(id, known);
    }
    return statistics;
  }

  /**
   * Counters of one pod's interface, in its own directions; undefined where no interface of the host mirrors it (a
   * macvlan has none).
   */
  async statisticsOf(sandboxId: string): Promise<InterfaceStatistics | undefined> {
    if (!this.#cni.has(sandboxId)) return this.#bridge.statisticsOf(sandboxId);
    for (const name of this.#cni.hostInterfaces(sandboxId)) {
      const link = await findLink(this.#socket, name);
      if (link?.kind === "veth" && link.statistics !== undefined) return seenFromPod(link.statistics);
    }
    return undefined;
  }

  // With "cni" a pod that is earlier than the network's add-on waits, and does not get into another network.
  #ofNewPods(): PodNetwork {
    const isCni = this.#mode === "cni" || (this.#mode === "auto" && this.#cni.isConfigured);
    return isCni ? this.#cni : this.#bridge;
  }

  #of(sandboxId: string): PodNetwork {
    return this.#cni.has(sandboxId) ? this.#cni : this.#bridge;
  }
}

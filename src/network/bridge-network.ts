// The embedded pod network: a bridge on the host, and for each pod a veth pair and an address of each subnet.
import { readFileSync } from "node:fs";
import { CleanupStack } from "../base/cleanup-stack.ts";
import {
  type CricketError,
  failedPrecondition,
  hasCode,
  invalidArgument,
  messageOf,
  wrapError,
} from "../base/errors.ts";
import { isId, shortId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import {
  decodeLink,
  listLinks,
  setMaster,
  type InterfaceStatistics,
  type Link,
} from "../linux/netlink-route.ts";
import { NetlinkError } from "../linux/netlink-error.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "../linux/netlink-socket.ts";
import { Bridge, findLink, type BridgeLink } from "./bridge.ts";
import { Firewall } from "./firewall.ts";
import { HostPorts, type HostPortMode } from "./host-ports.ts";
import { formatIp } from "./ip-address.ts";
import { LinkRemovals } from "./link-removal.ts";
import { PodAddresses } from "./pod-addresses.ts";
import {
  configureHostEnd,
  configurePodEnd,
  createPodLink,
  hostInterface,
  isHalfMade,
  podInterface,
  sandboxOf,
  seenFromPod,
  type PodAddress,
} from "./pod-link.ts";
import type {
  AttachRequest,
  DetachRequest,
  NetworkAttachment,
  NetworkCondition,
  PodNetwork,
} from "./pod-network.ts";
import { findTool } from "../linux/run-tool.ts";
import { parseSubnet, type Subnet } from "./subnet.ts";
import { Upkeep } from "./upkeep.ts";

export interface BridgeNetworkConfig {
  /** At most 15 characters. A daemon of its own on the same node needs a name and subnets of its own. */
  bridgeName: string;
  /** "10.88.0.0/16"; the first address is the bridge's. */
  subnet: string;
  /** An IPv6 subnet, or "" for none. */
  subnet6: string;
  /** 0: the MTU of the host's default route. */
  mtu: number;
  /** A directory of this network's own, for leases. */
  stateDir: string;
  hostPorts: HostPortMode;
}

/** Throws invalid-argument that names the setting. Touches nothing but `stateDir`. */
export function createBridgeNetwork(config: BridgeNetworkConfig, log: Log): BridgeNetwork {
  if (!/^[a-zA-Z][\w.-]{0,14}$/.test(config.bridgeName))
    throw invalidArgument(
      `network.bridge_name: ${JSON.stringify(config.bridgeName)} is not an interface name`,
    );
  if (config.mtu !== 0 && !(config.mtu >= 1280 && config.mtu <= 65_535))
    throw invalidArgument(`network.mtu is ${config.mtu}: not 0 and not in 1280..65535`);
  const subnets = [parseSubnet(config.subnet, "network.subnet")];
  if (config.subnet6 !== "") subnets.push(parseSubnet(config.subnet6, "network.subnet6"));
  if (subnets[0]?.family !== 4)
    throw invalidArgument(`network.subnet: ${config.subnet} is not an IPv4 subnet`);
  if (subnets.length === 2 && subnets[1]?.family !== 6)
    throw invalidArgument(`network.subnet6: ${config.subnet6} is not an IPv6 subnet`);
  return new BridgeNetwork(config, subnets, log);
}

export class BridgeNetwork implements PodNetwork {
  readonly #bridgeName: string;
  readonly #log: Log;
  readonly #socket = NetlinkSocket.open(NETLINK_ROUTE);
  readonly #removalSocket = NetlinkSocket.open(NETLINK_ROUTE);
  readonly #bridge: Bridge;
  readonly #addresses: PodAddresses;
  readonly #removals: LinkRemovals;
  readonly #firewall: Firewall;
  readonly #hostPorts: HostPorts;
  readonly #upkeep = new Upkeep(() => this.#tend());
  #problem: CricketError | undefined;
  #probing = false;

  constructor(config: BridgeNetworkConfig, subnets: readonly Subnet[], log: Log) {
    this.#bridgeName = config.bridgeName;
    this.#log = log;
    const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    this.#addresses = new PodAddresses(config.stateDir, subnets, bootId);
    // Pods that live since before the configuration changed still need their gateway and their rules.
    const served = [...subnets, ...this.#addresses.formerSubnets];
    this.#bridge = new Bridge(
      { name: config.bridgeName, subnets: served, mtu: config.mtu },
      this.#socket,
      log,
    );
    this.#removals = new LinkRemovals(this.#removalSocket, log);
    this.#firewall = new Firewall({ bridgeName: config.bridgeName, subnets: served }, findTool, log);
    this.#hostPorts = new HostPorts(config.hostPorts, () => this.#firewall.table, log);
  }

  condition(): NetworkCondition {
    this.#upkeep.begin();
    if (this.#problem === undefined) return { ready: true, reason: "", message: this.#firewall.limitation };
    // A node that is not ready gets no pods, so no attach would ever find out that the obstacle is gone.
    this.#probe();
    return { ready: false, reason: "BridgeNotReady", message: this.#problem.message };
  }

  async attach(request: AttachRequest): Promise<NetworkAttachment> {
    const { sandboxId } = request;
    if (!isId(sandboxId)) throw invalidArgument(`sandbox id ${JSON.stringify(sandboxId)} is not an id`);
    const cleanup = new CleanupStack();
    cleanup.defer("release host ports", () => this.#hostPorts.release(sandboxId));
    try {
      // The same sandbox again, right after its detach: its address is on the way to being free.
      if (this.#removals.has(sandboxId)) await this.#removals.settle();
      const ports = this.#hostPorts.claim(sandboxId, request.portMappings);
      await Promise.all([this.#ensureBridge(), this.#firewall.ensure()]);
      cleanup.defer("release addresses", () => {
        if (!this.#removals.has(sandboxId)) this.#addresses.release(sandboxId);
      });
      const addresses = await this.#allocate(sandboxId);
      await this.#connect(request, addresses, cleanup);
      const ips = addresses.map(({ address }) => address);
      await this.#hostPorts.open(sandboxId, ports, ips);
      cleanup.keep();
      return { ips: ips.map(formatIp), interfaceName: podInterface };
    } catch (error) {
      throw await cleanup.fail(error);
    }
  }

  async detach(request: DetachRequest): Promise<void> {
    const { sandboxId } = request;
    // Both are attempted: a rule that cannot be removed must not keep the address.
    const results = await Promise.allSettled([
      this.#hostPorts.release(sandboxId),
      this.#removeLink(sandboxId),
    ]);
    for (const result of results)
      if (result.status === "rejected")
        throw wrapError(`detach sandbox ${shortId(sandboxId)}`, result.reason);
  }

  async check(sandboxId: string): Promise<void> {
    const name = hostInterface(sandboxId);
    const what = `network of sandbox ${shortId(sandboxId)}`;
    if (this.#addresses.of(sandboxId).length === 0) throw failedPrecondition(`${what}: it has no address`);
    const [link, bridge] = await Promise.all([findLink(this.#socket, name), this.#bridge.find()]);
    if (link === undefined || sandboxOf(link, this.#bridgeName) !== sandboxId)
      throw failedPrecondition(`${what}: interface ${name} is gone`);
    if (bridge === undefined || link.masterIndex !== bridge.index)
      throw failedPrecondition(`${what}: interface ${name} is not a port of ${this.#bridgeName}`);
    if (!link.carrier) throw failedPrecondition(`${what}: interface ${name} or its peer is down`);
  }

  /** Counters of one pod, in its own directions; undefined where it has no link. */
  async statisticsOf(sandboxId: string): Promise<InterfaceStatistics | undefined> {
    const link = await findLink(this.#socket, hostInterface(sandboxId));
    if (link?.statistics === undefined || sandboxOf(link, this.#bridgeName) !== sandboxId) return undefined;
    return seenFromPod(link.statistics);
  }

  /** Counters of all attached pods by sandbox id, in the pods' own directions. One netlink exchange for all. */
  async statistics(): Promise<Map<string, InterfaceStatistics>> {
    const statistics = new Map<string, InterfaceStatistics>();
    for (const link of await this.#links()) {
      const sandboxId = sandboxOf(link, this.#bridgeName);
      if (sandboxId !== undefined && link.statistics !== undefined)
        statistics.set(sandboxId, seenFromPod(link.statistics));
    }
    return statistics;
  }

  async recover(live: readonly DetachRequest[]): Promise<void> {
    const liveIds = new Set(live.map(({ sandboxId }) => sandboxId));
    try {
      await this.#sweep(liveIds);
      if (live.length > 0) await this.#ensureBridge();
      else await this.#startEmpty();
    } catch (error) {
      this.#problem = wrapError("pod network", error);
    }
    for (const { sandboxId, portMappings } of live) {
      const ips = this.#addresses.of(sandboxId);
      if (ips.length === 0) {
        this.#log.warn("sandbox has no address lease", { sandbox: shortId(sandboxId) });
        continue;
      }
      await this.#hostPorts
        .recover(sandboxId, portMappings, ips)
        .catch((error: unknown) =>
          this.#log.warn("host ports not recovered", { sandbox: sandboxId, error: messageOf(error) }),
        );
    }
    if (live.length > 0) await this.#firewall.ensure();
  }

  async close(): Promise<void> {
    await this.#upkeep.close();
    await this.#hostPorts.close();
    await this.#removals.settle();
    if (this.#addresses.isEmpty) await this.#removeAll();
    this.#addresses.close();
    this.#socket.close();
    this.#removalSocket.close();
  }

  /** Resolves when the links of detached pods are gone and their addresses free. */
  async settle(): Promise<void> {
    await this.#removals.settle();
  }

  async #ensureBridge(): Promise<BridgeLink> {
    try {
      const bridge = await this.#bridge.ensure();
      this.#problem = undefined;
      return bridge;
    } catch (error) {
      this.#problem = wrapError("pod network", error);
      throw error;
    }
  }

  // Rules of a daemon that was killed would go on sending traffic for host ports to pods that are gone.
  async #startEmpty(): Promise<void> {
    if ((await this.#bridge.find()) !== undefined) {
      await this.#removals.settle();
      await this.#removeAll();
    }
    await this.#bridge.probe();
  }

  #probe(): void {
    if (this.#probing) return;
    this.#probing = true;
    this.#bridge
      .probe()
      .then(
        () => (this.#problem = undefined),
        (error: unknown) => (this.#problem = wrapError("pod network", error)),
      )
      .finally(() => (this.#probing = false));
  }

  // Other programs flush packet rules, turn forwarding off, and remove bridges that they do not know.
  async #tend(): Promise<void> {
    if (this.#addresses.isEmpty || this.#problem !== undefined) return;
    try {
      if (await this.#bridge.tend()) await this.#rejoinAll();
    } catch (error) {
      this.#log.warn("the pod network could not be looked after", { error: messageOf(error) });
    }
    await this.#firewall.tend();
  }

  // Addresses of pods that were just detached come free when their links are gone.
  async #allocate(sandboxId: string): Promise<PodAddress[]> {
    try {
      return this.#addresses.allocate(sandboxId);
    } catch (error) {
      if (!hasCode(error, "resource-exhausted") || this.#removals.isIdle) throw error;
      await this.#removals.settle();
      return this.#addresses.allocate(sandboxId);
    }
  }

  async #connect(
    request: AttachRequest,
    addresses: readonly PodAddress[],
    cleanup: CleanupStack,
  ): Promise<void> {
    const { sandboxId } = request;
    await this.#createLink(request, addresses);
    cleanup.defer("remove link", () => this.#removeLink(sandboxId));
    const ends = await Promise.allSettled([
      configureHostEnd(this.#socket, this.#bridgeName, sandboxId),
      configurePodEnd(request.routeSocket, addresses),
    ]);
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }

  async #createLink(request: AttachRequest, addresses: readonly PodAddress[]): Promise<void> {
    const { sandboxId, netnsFd } = request;
    const link = { sandboxId, netnsFd, addresses, bridgeName: this.#bridgeName };
    const bridge = await this.#ensureBridge();
    try {
      await createPodLink(this.#socket, { ...link, bridge });
    } catch (error) {
      if (!(error instanceof NetlinkError) || (await this.#bridge.find())?.index === bridge.index)
        throw error;
      // Somebody removed the bridge behind our back.
      this.#bridge.forget();
      await createPodLink(this.#socket, { ...link, bridge: await this.#ensureBridge() });
    }
  }

  async #removeLink(sandboxId: string): Promise<void> {
    if (this.#removals.has(sandboxId)) return;
    const link = await findLink(this.#socket, hostInterface(sandboxId));
    const isOurs =
      link !== undefined &&
      (sandboxOf(link, this.#bridgeName) === sandboxId ||
        isHalfMade(link, (await this.#bridge.find())?.index));
    if (isOurs) this.#removals.start(sandboxId, link.index, () => this.#addresses.release(sandboxId));
    else this.#addresses.release(sandboxId);
  }

  async #links(): Promise<Link[]> {
    return (await this.#socket.dump(listLinks())).map(decodeLink);
  }

  async #sweep(liveIds: ReadonlySet<string>): Promise<void> {
    const links = await this.#links();
    const bridgeIndex = links.find((link) => link.name === this.#bridgeName)?.index;
    for (const link of links) {
      const sandboxId = sandboxOf(link, this.#bridgeName);
      if (sandboxId === undefined) {
        if (isHalfMade(link, bridgeIndex)) this.#removals.start(link.name, link.index, () => {});
      } else if (!liveIds.has(sandboxId)) {
        this.#log.info("removing the link of a sandbox that is gone", { sandbox: shortId(sandboxId) });
        this.#removals.start(sandboxId, link.index, () => this.#addresses.release(sandboxId));
      } else if (link.masterIndex === 0 || link.masterIndex !== bridgeIndex) {
        await this.#rejoin(link, sandboxId);
      }
    }
    for (const sandboxId of this.#addresses.sandboxIds())
      if (!liveIds.has(sandboxId) && !this.#removals.has(sandboxId)) this.#addresses.release(sandboxId);
  }

  async #rejoinAll(): Promise<void> {
    const { index } = await this.#ensureBridge();
    for (const link of await this.#links()) {
      const sandboxId = sandboxOf(link, this.#bridgeName);
      if (sandboxId !== undefined && link.masterIndex !== index && !this.#removals.has(sandboxId))
        await this.#rejoin(link, sandboxId);
    }
  }

  // The bridge was removed and made again, while the daemon was away or behind its back.
  async #rejoin(link: Link, sandboxId: string): Promise<void> {
    const bridge = await this.#ensureBridge();
    await this.#socket.request([setMaster({ index: link.index }, bridge.index)]);
    await configureHostEnd(this.#socket, this.#bridgeName, sandboxId);
    this.#log.info("pod link joined to the bridge again", { sandbox: shortId(sandboxId) });
  }

  // A daemon that ends without pods leaves nothing on the host.
  async #removeAll(): Promise<void> {
    const [bridge, rules] = await Promise.allSettled([this.#bridge.remove(), this.#firewall.remove()]);
    for (const result of [bridge, rules])
      if (result.status === "rejected")
        this.#log.warn("network not removed", { error: messageOf(result.reason) });
  }
}

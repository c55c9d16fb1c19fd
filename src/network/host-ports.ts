// The host ports of all pods: a proxy in this process for each, and packet rules in front of it where nft is there.
// With rules, traffic from outside goes straight to the pod and keeps its source address; the proxy then serves what
// rules cannot rewrite safely (loopback addresses, a family the pod lacks), and holds the port against other processes.
import { CricketError, errnoOf, failedPrecondition, messageOf, wrapError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { describeHostPort, HostPortClaims, parseHostPorts, type HostPort } from "./host-port.ts";
import { formatIp, type IpAddress } from "./ip-address.ts";
import type { ServedPort } from "./nft-ruleset.ts";
import type { NftTable } from "./nft-table.ts";
import type { PortMapping } from "./pod-network.ts";
import { openTcpProxy, type ListenAddress, type PortProxy, type ProxyTarget } from "./tcp-proxy.ts";
import { openUdpProxy } from "./udp-proxy.ts";
import type { SubnetRange } from "./subnet.ts";

/** "auto": packet rules where the host has nft, else proxies alone. */
export type HostPortMode = "auto" | "nft" | "proxy";

export interface PodIp extends IpAddress {
  /** As in ServedPort. */
  neighbours?: SubnetRange;
}

export class HostPorts {
  readonly #claims = new HostPortClaims();
  readonly #proxies = new Map<string, PortProxy[]>();
  readonly #mode: HostPortMode;
  readonly #table: () => NftTable | undefined;
  readonly #log: Log;

  /**
   * `mode` "nft" refuses host ports where there are no rules. `table`: the rules, undefined where the host has none.
   */
  constructor(mode: HostPortMode, table: () => NftTable | undefined, log: Log) {
    this.#mode = mode;
    this.#table = mode === "proxy" ? () => undefined : table;
    this.#log = log;
  }

  /**
   * Claims the host ports of a pod before anything is made for it; `release` gives them back.
   * @throws invalid-argument on a bad mapping, already-exists where another pod has a port
   */
  claim(sandboxId: string, mappings: readonly PortMapping[]): readonly HostPort[] {
    const ports = parseHostPorts(mappings);
    if (ports.length > 0) this.#claims.claim(sandboxId, ports);
    return ports;
  }

  /**
   * Opens claimed ports to the addresses of the pod, all or none.
   * @throws failed-precondition where a process of the host has a port, where the host does not have the address, and
   * for SCTP without nft
   */
  async open(sandboxId: string, ports: readonly HostPort[], podIps: readonly PodIp[]): Promise<void> {
    if (ports.length === 0) return;
    const rules = this.#rulesOf(ports, podIps);
    const proxies: PortProxy[] = [];
    this.#proxies.set(sandboxId, proxies);
    try {
      for (const port of ports) await this.#openProxy(port, podIps, proxies);
      if (rules.length > 0) await this.#serve(sandboxId, rules, proxies.length === ports.length);
    } catch (error) {
      await this.#closeProxies(sandboxId);
      throw error;
    }
  }

  /** Takes the ports of a pod up again after a restart of the daemon; rules are written by the table's next `apply`. */
  async recover(
    sandboxId: string,
    mappings: readonly PortMapping[],
    podIps: readonly PodIp[],
  ): Promise<void> {
    const ports = this.claim(sandboxId, mappings);
    if (ports.length === 0) return;
    this.#table()?.adopt(sandboxId, this.#rulesOf(ports, podIps));
    const proxies: PortProxy[] = [];
    this.#proxies.set(sandboxId, proxies);
    for (const port of ports) {
      try {
        await this.#openProxy(port, podIps, proxies);
      } catch (error) {
        // Somebody took the port while the daemon was away: the pod lives on without it.
        this.#log.warn("host port not recovered", { sandbox: sandboxId, error: messageOf(error) });
      }
    }
  }

  /** True where no pod has claimed a port. */
  get isEmpty(): boolean {
    return this.#claims.isEmpty;
  }

  /** Closes and gives back the ports of a pod. Idempotent. */
  async release(sandboxId: string): Promise<void> {
    await this.#closeProxies(sandboxId);
    this.#claims.release(sandboxId);
    await this.#table()?.withdraw(sandboxId);
  }

  /** Closes all proxies; rules stay, and those under way are finished. */
  async close(): Promise<void> {
    await this.#table()?.settle();
    for (const sandboxId of this.#proxies.keys()) await this.#closeProxies(sandboxId);
  }

  async #closeProxies(sandboxId: string): Promise<void> {
    const proxies = this.#proxies.get(sandboxId) ?? [];
    this.#proxies.delete(sandboxId);
    await Promise.all(proxies.map((proxy) => proxy.close()));
  }

  // nft takes 20 ms. Where proxies serve everything already, the pod need not wait for the shorter way.
  async #serve(sandboxId: string, rules: readonly ServedPort[], isProxied: boolean): Promise<void> {
    const serving = this.#table()?.serve(sandboxId, rules);
    if (this.#mode === "nft" || !isProxied) return serving;
    serving?.catch((error: unknown) =>
      this.#log.warn("host ports are served by the proxy alone", {
        sandbox: sandboxId,
        error: messageOf(error),
      }),
    );
  }

  #rulesOf(ports: readonly HostPort[], podIps: readonly PodIp[]): ServedPort[] {
    if (this.#mode === "nft" && this.#table() === undefined)
      throw failedPrecondition("host ports are configured to be nft rules, which this node cannot set");
    const rules = this.#table() === undefined ? [] : ports.flatMap((port) => servedPorts(port, podIps));
    for (const port of ports) {
      if (port.protocol !== "sctp") continue;
      if (this.#table() === undefined)
        throw failedPrecondition(`host port ${describeHostPort(port)}: SCTP needs nftables on this node`);
      if (!rules.some((rule) => rule.protocol === "sctp" && rule.hostPort === port.hostPort))
        throw failedPrecondition(
          `host port ${describeHostPort(port)}: the pod has no address of that family`,
        );
    }
    return rules;
  }

  async #openProxy(port: HostPort, podIps: readonly IpAddress[], proxies: PortProxy[]): Promise<void> {
    if (port.protocol === "sctp") return;
    const podIp = podIps[0];
    if (podIp === undefined) throw new CricketError("internal", "a pod without an address has host ports");
    const target: ProxyTarget = { address: formatIp(podIp), port: port.containerPort };
    const open = port.protocol === "tcp" ? openTcpProxy : openUdpProxy;
    try {
      proxies.push(await listenOnFirst(listenAddresses(port), (listen) => open(listen, target)));
    } catch (error) {
      // An address that moves between nodes: rules take effect when it arrives.
      if (errnoOf(error) === "EADDRNOTAVAIL" && this.#table() !== undefined) return;
      throw refusal(port, error);
    }
  }
}

function refusal(port: HostPort, error: unknown): CricketError {
  const name = `host port ${describeHostPort(port)}`;
  const errno = errnoOf(error);
  if (errno === "EADDRINUSE")
    return new CricketError("failed-precondition", `${name} is in use by another process`, { cause: error });
  if (errno === "EADDRNOTAVAIL")
    return new CricketError("failed-precondition", `${name}: this node does not have the address`, {
      cause: error,
    });
  return wrapError(`open ${name}`, error);
}

/** Where a host port listens: the alternatives in order of preference. */
function listenAddresses(port: HostPort): ListenAddress[] {
  const common = { port: port.hostPort, ipv6Only: true };
  if (port.hostIp !== undefined) return [{ ...common, host: formatIp(port.hostIp) }];
  const ipv4 = { ...common, host: "0.0.0.0" };
  if (!port.families.includes(6)) return [ipv4];
  if (!port.families.includes(4)) return [{ ...common, host: "::" }];
  return [{ ...common, host: "::", ipv6Only: false }, ipv4];
}

// Without IPv6 in the kernel a socket for "::" cannot be made or bound.
const withoutIpv6 = ["EAFNOSUPPORT", "EADDRNOTAVAIL", "EPROTONOSUPPORT"];

async function listenOnFirst(
  addresses: readonly ListenAddress[],
  open: (listen: ListenAddress) => Promise<PortProxy>,
): Promise<PortProxy> {
  for (const [index, address] of addresses.entries()) {
    try {
      return await open(address);
    } catch (error) {
      if (index === addresses.length - 1 || !withoutIpv6.includes(errnoOf(error) ?? "")) throw error;
    }
  }
  throw new CricketError("internal", "no address to listen on");
}

const isLoopback = (address: IpAddress): boolean =>
  address.family === 4 ? address.value >> 24n === 127n : address.value === 1n;

// Traffic to loopback addresses comes from this node only and goes through the proxy.
function servedPorts(port: HostPort, podIps: readonly PodIp[]): ServedPort[] {
  const { protocol, hostIp, hostPort, containerPort } = port;
  if (hostIp !== undefined && isLoopback(hostIp)) return [];
  return podIps
    .filter((podIp) => port.families.includes(podIp.family))
    .map((podIp) => ({ protocol, hostIp, hostPort, podIp, neighbours: podIp.neighbours, containerPort }));
}

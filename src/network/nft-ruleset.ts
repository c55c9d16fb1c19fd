// The nftables table of a pod network, as text for nft(8). It is always written as a whole: replacing a table is one
// transaction, needs no knowledge of what was there, and repairs what someone else flushed.
import { formatIp, type IpAddress, type IpFamily } from "./ip-address.ts";
import type { PortProtocol } from "./pod-network.ts";
import { formatSubnet, type Subnet, type SubnetRange } from "./subnet.ts";

/** A port of the host that leads to a pod. */
export interface ServedPort {
  protocol: PortProtocol;
  /** Undefined: all addresses of the host. */
  hostIp: IpAddress | undefined;
  hostPort: number;
  /** Its family is that of the traffic. */
  podIp: IpAddress;
  /** Who reaches the pod without this node's routing, where that is not one of the bridge's subnets. */
  neighbours?: SubnetRange | undefined;
  containerPort: number;
}

export interface RulesetOptions {
  bridgeName: string;
  subnets: readonly Subnet[];
}

/** "cricket"; a bridge of another name has its own table, so that two daemons on one node do not meet. */
export function tableName(bridgeName: string): string {
  return bridgeName === "cricket0" ? "cricket" : `cricket-${bridgeName}`;
}

/** Adding the table first makes the deletion succeed where there is none. */
export function renderTableRemoval(bridgeName: string): string {
  const table = `inet ${tableName(bridgeName)}`;
  return `add table ${table}\ndelete table ${table}\n`;
}

export function renderRuleset(options: RulesetOptions, ports: readonly ServedPort[]): string {
  return [
    renderTableRemoval(options.bridgeName),
    `table inet ${tableName(options.bridgeName)} {`,
    ...renderMaps(4, ports),
    ...renderMaps(6, ports),
    ...renderChains(options, ports),
    "}",
    "",
  ].join("\n");
}

function renderMaps(family: IpFamily, ports: readonly ServedPort[]): string[] {
  const address = `ipv${family}_addr`;
  const target = `${address} . inet_service`;
  const served = ports.filter((port) => port.podIp.family === family);
  const to = (port: ServedPort): string => `${formatIp(port.podIp)} . ${port.containerPort}`;
  const endpoint = (port: ServedPort): string => `${port.protocol} . ${to(port)}`;
  const key = (port: ServedPort): string => `${port.protocol} . ${port.hostPort}`;
  const any = served.filter((port) => port.hostIp === undefined);
  const bound = served.flatMap((port) =>
    port.hostIp === undefined ? [] : [`${formatIp(port.hostIp)} . ${key(port)} : ${to(port)}`],
  );
  return [
    ...renderSet(
      `map any${family}`,
      `inet_proto . inet_service : ${target}`,
      any.map((port) => `${key(port)} : ${to(port)}`),
    ),
    ...renderSet(`map bound${family}`, `${address} . inet_proto . inet_service : ${target}`, bound),
    ...renderSet(
      `set served${family}`,
      `inet_proto . ${target}`,
      // Two host ports may lead to the same pod port: a set takes each element once.
      [...new Set(served.map(endpoint))],
    ),
  ];
}

function renderSet(head: string, type: string, elements: readonly string[]): string[] {
  const list = elements.length === 0 ? [] : [`    elements = { ${elements.join(", ")} }`];
  return [`  ${head} {`, `    type ${type}`, ...list, "  }"];
}

function renderChains(options: RulesetOptions, ports: readonly ServedPort[]): string[] {
  const bridge = JSON.stringify(options.bridgeName);
  return [
    ...renderChain("host-ports", undefined, [
      "dnat ip to ip daddr . meta l4proto . th dport map @bound4",
      "dnat ip to meta l4proto . th dport map @any4",
      "dnat ip6 to ip6 daddr . meta l4proto . th dport map @bound6",
      "dnat ip6 to meta l4proto . th dport map @any6",
    ]),
    ...renderChain("prerouting", "type nat hook prerouting priority dstnat", [
      "fib daddr type local jump host-ports",
    ]),
    // Loopback addresses are left to the proxy: rewriting them needs route_localnet, which opens the host's loopback
    // services to the pods (CVE-2020-8558).
    ...renderChain("output", "type nat hook output priority -100", [
      "ip daddr 127.0.0.0/8 return",
      "ip6 daddr ::1 return",
      "fib daddr type local jump host-ports",
    ]),
    ...renderChain("postrouting", "type nat hook postrouting priority srcnat", [
      ...options.subnets.flatMap((subnet) => renderMasquerade(subnet, bridge)),
      ...neighboursOf(ports).map(renderReturn),
    ]),
  ];
}

function renderMasquerade(subnet: Subnet, bridge: string): string[] {
  const ip = subnet.family === 4 ? "ip" : "ip6";
  const multicast = subnet.family === 4 ? "224.0.0.0/4" : "ff00::/8";
  const own = formatSubnet(subnet);
  return [
    `${ip} saddr ${own} ${ip} daddr != { ${own}, ${multicast} } oifname != ${bridge} masquerade`,
    renderReturn(subnet),
  ];
}

// A pod that reaches a pod of this node through a host port: the answer must come back through the host, or it would go
// straight across the bridge with an address the client never spoke to.
function renderReturn(subnet: SubnetRange): string {
  const ip = subnet.family === 4 ? "ip" : "ip6";
  const served = `meta l4proto . ${ip} daddr . th dport @served${subnet.family}`;
  return `${ip} saddr ${formatSubnet(subnet)} ct status dnat ${served} masquerade`;
}

function neighboursOf(ports: readonly ServedPort[]): SubnetRange[] {
  const found = new Map<string, SubnetRange>();
  for (const { neighbours } of ports)
    if (neighbours !== undefined) found.set(formatSubnet(neighbours), neighbours);
  return [...found.values()];
}

function renderChain(name: string, hook: string | undefined, rules: readonly string[]): string[] {
  const head = hook === undefined ? [] : [`    ${hook}; policy accept;`];
  return [`  chain ${name} {`, ...head, ...rules.map((rule) => `    ${rule}`), "  }"];
}

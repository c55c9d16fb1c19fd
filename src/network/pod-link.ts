// The veth pair between a pod and the bridge. Its name on the host is derived from the sandbox id and its alias
// carries the whole id, so that whoever finds it knows whose it is.
import { CricketError, errnoOf } from "../base/errors.ts";
import {
  configurePort,
  decodeLink,
  getLink,
  newAddress,
  newDefaultRoute,
  newVeth,
  refuseLinkLocalAddress,
  setLinkUp,
  type InterfaceStatistics,
  type Link,
} from "../linux/netlink-route.ts";
import { NetlinkSocket } from "../linux/netlink-socket.ts";
import { findLink, hardwareAddressOf, type BridgeLink } from "./bridge.ts";
import { ipBytes, type IpAddress } from "./ip-address.ts";
import type { Subnet } from "./subnet.ts";

export const podInterface = "eth0";
const hostPrefix = "crk";

/** "crk" and 12 digits of the id: 15 characters, as many as an interface name may have (IFNAMSIZ). */
export function hostInterface(sandboxId: string): string {
  return `${hostPrefix}${sandboxId.slice(0, 12)}`;
}

export function linkAlias(bridgeName: string, sandboxId: string): string {
  return `cricket ${bridgeName} ${sandboxId}`;
}

/** The sandbox a link of this bridge belongs to; undefined for any other link. */
export function sandboxOf(link: Link, bridgeName: string): string | undefined {
  const prefix = linkAlias(bridgeName, "");
  return link.alias.startsWith(prefix) ? link.alias.slice(prefix.length) : undefined;
}

/** True for a pair that was created but not configured when its daemon was killed: it has no alias yet. */
export function isHalfMade(link: Link, bridgeIndex: number | undefined): boolean {
  return link.alias === "" && link.masterIndex === bridgeIndex && link.name.startsWith(hostPrefix);
}

export interface PodAddress {
  address: IpAddress;
  subnet: Subnet;
}

export interface PodLinkRequest {
  sandboxId: string;
  bridgeName: string;
  bridge: BridgeLink;
  netnsFd: number;
  /** The first one decides the hardware address. */
  addresses: readonly PodAddress[];
}

/**
 * Creates the pair, the host's end a port of the bridge; both ends are down.
 * @throws already-exists where the name is taken, NetlinkError
 */
export async function createPodLink(socket: NetlinkSocket, request: PodLinkRequest): Promise<void> {
  const name = hostInterface(request.sandboxId);
  const first = request.addresses[0];
  if (first === undefined) throw new CricketError("internal", `sandbox ${request.sandboxId} has no address`);
  const pair = newVeth({
    name,
    bridgeIndex: request.bridge.index,
    mtu: request.bridge.mtu,
    peerName: podInterface,
    peerNetnsFd: request.netnsFd,
    peerHardwareAddress: hardwareAddressOf(ipBytes(first.address)),
  });
  try {
    await socket.request([pair]);
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
    throw new CricketError("already-exists", await explainCollision(socket, request), { cause: error });
  }
}

async function explainCollision(socket: NetlinkSocket, request: PodLinkRequest): Promise<string> {
  const name = hostInterface(request.sandboxId);
  const link = await findLink(socket, name);
  if (link === undefined) return `the pod's network namespace has an interface ${podInterface} already`;
  const owner = sandboxOf(link, request.bridgeName);
  return `interface ${name} exists and ${owner === undefined ? "is not of this network" : `belongs to sandbox ${owner}`}`;
}

/** The host's side of a pair that was just created. In a batch of its own: it must not touch a stranger's link. */
export async function configureHostEnd(
  socket: NetlinkSocket,
  bridgeName: string,
  sandboxId: string,
): Promise<void> {
  const name = hostInterface(sandboxId);
  const configure = configurePort(name, linkAlias(bridgeName, sandboxId));
  // A port speaks for its pod only; an address of its own would cost the kernel multicast groups and timers.
  await socket.request([configure, refuseLinkLocalAddress(name), setLinkUp({ name })], ["EAFNOSUPPORT"]);
}

/** The pod's side, over a socket of its network namespace: loopback, addresses, default routes. */
export async function configurePodEnd(routeSocket: number, addresses: readonly PodAddress[]): Promise<void> {
  const socket = NetlinkSocket.over(routeSocket);
  const { index } = decodeLink(await socket.get(getLink({ name: podInterface })));
  await socket.request([
    setLinkUp({ name: "lo" }),
    setLinkUp({ index }),
    ...addresses.map(({ address, subnet }) =>
      newAddress({
        linkIndex: index,
        address: ipBytes(address),
        prefixLength: subnet.prefixLength,
        ...(subnet.broadcast === undefined ? {} : { broadcast: ipBytes(subnet.broadcast) }),
      }),
    ),
    ...addresses.map(({ subnet }) => newDefaultRoute(index, ipBytes(subnet.gateway))),
  ]);
}

/**
 * Counters of an interface in the network namespace of a route socket, as the pod sees them; undefined where there is
 * no such interface.
 */
export async function readInterfaceStatistics(
  routeSocket: number,
  interfaceName: string = podInterface,
): Promise<InterfaceStatistics | undefined> {
  try {
    const link = await NetlinkSocket.over(routeSocket).get(getLink({ name: interfaceName }));
    return decodeLink(link).statistics;
  } catch (error) {
    if (errnoOf(error) === "ENODEV") return undefined;
    throw error;
  }
}

/** What the pod's end received is what the host's end sent. */
export function seenFromPod(host: InterfaceStatistics): InterfaceStatistics {
  return {
    rxBytes: host.txBytes,
    rxPackets: host.txPackets,
    rxErrors: host.txErrors,
    rxDropped: host.txDropped,
    txBytes: host.rxBytes,
    txPackets: host.rxPackets,
    txErrors: host.rxErrors,
    txDropped: host.rxDropped,
  };
}

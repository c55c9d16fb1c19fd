// The rtnetlink(7) requests and answers this project uses: links (bridge, veth), addresses and routes. The field
// numbers are those of linux/rtnetlink.h, if_link.h, if_addr.h and veth.h.
import {
  attribute,
  decodeAttributes,
  nestedAttribute,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  stringAttribute,
  stringOf,
  u32Attribute,
  u32Of,
  u8Attribute,
  type NetlinkMessage,
  type NetlinkRequest,
} from "./netlink-message.ts";
import { CricketError } from "../base/errors.ts";

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_SETLINK = 19;
const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;
const RTM_NEWROUTE = 24;
const RTM_GETROUTE = 26;

const AF_INET = 2;
const AF_INET6 = 10;

const IFF_UP = 0x1;
const IFF_LOWER_UP = 0x10000;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_MASTER = 10;
const IFLA_LINKINFO = 18;
const IFLA_IFALIAS = 20;
const IFLA_STATS64 = 23;
const IFLA_AF_SPEC = 26;
const IFLA_NET_NS_FD = 28;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_INFO_SLAVE_KIND = 4;
const IFLA_INFO_SLAVE_DATA = 5;
const VETH_INFO_PEER = 1;
const IFLA_BRPORT_MODE = 4;
const IFLA_INET6_ADDR_GEN_MODE = 8;
const IN6_ADDR_GEN_MODE_NONE = 1;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;
const IFA_FLAGS = 8;
const IFA_F_NODAD = 0x02;

const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_TABLE = 15;
const RT_TABLE_MAIN = 254;
const RTPROT_STATIC = 4;
const RT_SCOPE_UNIVERSE = 0;
const RTN_UNICAST = 1;

/** An address in network byte order: 4 bytes of IPv4 or 16 of IPv6. */
export type AddressBytes = Uint8Array;

export interface Link {
  index: number;
  name: string;
  up: boolean;
  /** The other end is up as well. */
  carrier: boolean;
  mtu: number;
  /** "bridge", "veth"; "" for a physical device. */
  kind: string;
  /** Index of the bridge it is a port of, 0 for none. */
  masterIndex: number;
  alias: string;
  /** Hardware address, "" where it has none. */
  hardwareAddress: string;
  statistics: InterfaceStatistics | undefined;
}

/** Counters since the interface was made, as the interface itself sees the directions. */
export interface InterfaceStatistics {
  rxBytes: bigint;
  rxPackets: bigint;
  rxErrors: bigint;
  rxDropped: bigint;
  txBytes: bigint;
  txPackets: bigint;
  txErrors: bigint;
  txDropped: bigint;
}

export interface LinkAddress {
  linkIndex: number;
  prefixLength: number;
  address: Buffer;
}

export interface Route {
  /** 0 for routes that lead to no interface, or to several. */
  linkIndex: number;
  /** Undefined for a default route. */
  destination: Buffer | undefined;
  /** 0 for a default route. */
  prefixLength: number;
  gateway: Buffer | undefined;
}

interface LinkHeader {
  index?: number;
  flags?: number;
  change?: number;
}

// struct ifinfomsg; `change` says which bits of `flags` count.
function linkHeader(fields: LinkHeader): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeInt32LE(fields.index ?? 0, 4);
  bytes.writeUInt32LE(fields.flags ?? 0, 8);
  bytes.writeUInt32LE(fields.change ?? 0, 12);
  return bytes;
}

const up: LinkHeader = { flags: IFF_UP, change: IFF_UP };

/** A new bridge, down. A hardware address that is set never changes as ports come and go, so no neighbour entry goes stale. */
export function newBridge(name: string, mtu: number, hardwareAddress: Uint8Array): NetlinkRequest {
  return {
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    doing: `create bridge ${name}`,
    body: Buffer.concat([
      linkHeader({}),
      stringAttribute(IFLA_IFNAME, name),
      u32Attribute(IFLA_MTU, mtu),
      attribute(IFLA_ADDRESS, hardwareAddress),
      nestedAttribute(IFLA_LINKINFO, stringAttribute(IFLA_INFO_KIND, "bridge")),
    ]),
  };
}

export interface VethPair {
  name: string;
  bridgeIndex: number;
  mtu: number;
  peerName: string;
  /** An open descriptor of the network namespace the peer is born in. */
  peerNetnsFd: number;
  peerHardwareAddress: Uint8Array;
}

/** A veth pair, one end a port of the bridge, the other in the pod, both down: made in one step, so there is no half of it. */
export function newVeth(pair: VethPair): NetlinkRequest {
  // Both down: the kernel refuses to open one end before it knows the other (ENOTCONN).
  const peer = Buffer.concat([
    linkHeader({}),
    stringAttribute(IFLA_IFNAME, pair.peerName),
    u32Attribute(IFLA_MTU, pair.mtu),
    attribute(IFLA_ADDRESS, pair.peerHardwareAddress),
    u32Attribute(IFLA_NET_NS_FD, pair.peerNetnsFd),
  ]);
  return {
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    doing: `create veth ${pair.name}`,
    body: Buffer.concat([
      linkHeader({}),
      stringAttribute(IFLA_IFNAME, pair.name),
      u32Attribute(IFLA_MTU, pair.mtu),
      u32Attribute(IFLA_MASTER, pair.bridgeIndex),
      nestedAttribute(
        IFLA_LINKINFO,
        stringAttribute(IFLA_INFO_KIND, "veth"),
        nestedAttribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, peer)),
      ),
    ]),
  };
}

/**
 * What a bridge port is beside its creation: its alias, and hairpin mode (frames may go back out of the port they came
 * from, which a pod needs to reach itself through a service or host port when br_netfilter rewrites at layer 2).
 */
export function configurePort(name: string, alias: string): NetlinkRequest {
  return {
    type: RTM_NEWLINK,
    flags: 0,
    doing: `configure bridge port ${name}`,
    body: Buffer.concat([
      linkHeader({}),
      stringAttribute(IFLA_IFNAME, name),
      stringAttribute(IFLA_IFALIAS, alias),
      nestedAttribute(
        IFLA_LINKINFO,
        stringAttribute(IFLA_INFO_SLAVE_KIND, "bridge"),
        nestedAttribute(IFLA_INFO_SLAVE_DATA, u8Attribute(IFLA_BRPORT_MODE, 1)),
      ),
    ]),
  };
}

/** Keeps the kernel from giving the link an IPv6 link-local address when it goes up. EAFNOSUPPORT without IPv6. */
export function refuseLinkLocalAddress(name: string): NetlinkRequest {
  const inet6 = nestedAttribute(AF_INET6, u8Attribute(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE));
  const body = Buffer.concat([
    linkHeader({}),
    stringAttribute(IFLA_IFNAME, name),
    nestedAttribute(IFLA_AF_SPEC, inet6),
  ]);
  return { type: RTM_NEWLINK, flags: 0, doing: `refuse a link-local address on ${name}`, body };
}

/** A link is named by its index, or by its name where the index is not known. */
export type LinkSelector = { index: number } | { name: string };

const describeLink = (link: LinkSelector): string => ("name" in link ? link.name : `link ${link.index}`);

function selectLink(link: LinkSelector, header: LinkHeader = {}): Buffer {
  if ("index" in link) return linkHeader({ ...header, index: link.index });
  return Buffer.concat([linkHeader(header), stringAttribute(IFLA_IFNAME, link.name)]);
}

export function setLinkUp(link: LinkSelector): NetlinkRequest {
  return { type: RTM_SETLINK, flags: 0, doing: `set ${describeLink(link)} up`, body: selectLink(link, up) };
}

/** Makes a link a port of a bridge. */
export function setMaster(link: LinkSelector, bridgeIndex: number): NetlinkRequest {
  const body = Buffer.concat([selectLink(link), u32Attribute(IFLA_MASTER, bridgeIndex)]);
  return { type: RTM_SETLINK, flags: 0, doing: `add ${describeLink(link)} to its bridge`, body };
}

/** Removes a link; of a veth pair both ends go. */
export function deleteLink(link: LinkSelector): NetlinkRequest {
  return { type: RTM_DELLINK, flags: 0, doing: `delete ${describeLink(link)}`, body: selectLink(link) };
}

/** Answered with one message for `decodeLink`; ENODEV where there is no such link. */
export function getLink(link: LinkSelector): NetlinkRequest {
  return { type: RTM_GETLINK, flags: 0, doing: `look up ${describeLink(link)}`, body: selectLink(link) };
}

export function listLinks(): NetlinkRequest {
  return { type: RTM_GETLINK, flags: 0, doing: "list links", body: linkHeader({}) };
}

export interface NewAddress {
  linkIndex: number;
  address: AddressBytes;
  prefixLength: number;
  /** IPv4 only. */
  broadcast?: AddressBytes;
}

const familyOf = (address: AddressBytes): number => (address.length === 4 ? AF_INET : AF_INET6);

// struct ifaddrmsg. Duplicate address detection would keep an IPv6 address unusable for a second; the leases
// already make it unique.
function addressHeader(family: number, linkIndex: number, prefixLength: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt8(family, 0);
  bytes.writeUInt8(prefixLength, 1);
  bytes.writeUInt32LE(linkIndex, 4);
  return bytes;
}

/** An address with the route to its subnet. EEXIST where the link has it already. */
export function newAddress(wanted: NewAddress): NetlinkRequest {
  const family = familyOf(wanted.address);
  const parts = [
    addressHeader(family, wanted.linkIndex, wanted.prefixLength),
    attribute(IFA_LOCAL, wanted.address),
    attribute(IFA_ADDRESS, wanted.address),
  ];
  if (wanted.broadcast !== undefined) parts.push(attribute(IFA_BROADCAST, wanted.broadcast));
  if (family === AF_INET6) parts.push(u32Attribute(IFA_FLAGS, IFA_F_NODAD));
  return {
    type: RTM_NEWADDR,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    doing: `add an address to link ${wanted.linkIndex}`,
    body: Buffer.concat(parts),
  };
}

export function listAddresses(): NetlinkRequest {
  return { type: RTM_GETADDR, flags: 0, doing: "list addresses", body: addressHeader(0, 0, 0) };
}

// struct rtmsg
function routeHeader(family: number, fill: boolean): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt8(family, 0);
  if (!fill) return bytes;
  bytes.writeUInt8(RT_TABLE_MAIN, 4);
  bytes.writeUInt8(RTPROT_STATIC, 5);
  bytes.writeUInt8(RT_SCOPE_UNIVERSE, 6);
  bytes.writeUInt8(RTN_UNICAST, 7);
  return bytes;
}

/** The default route of the gateway's family through a link. */
export function newDefaultRoute(linkIndex: number, gateway: AddressBytes): NetlinkRequest {
  return {
    type: RTM_NEWROUTE,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    doing: `add the default route through link ${linkIndex}`,
    body: Buffer.concat([
      routeHeader(familyOf(gateway), true),
      attribute(RTA_GATEWAY, gateway),
      u32Attribute(RTA_OIF, linkIndex),
    ]),
  };
}

/** Lists the routes of a family, for `decodeRoute`. */
export function listRoutes(family: 4 | 6): NetlinkRequest {
  const header = routeHeader(family === 4 ? AF_INET : AF_INET6, false);
  return { type: RTM_GETROUTE, flags: 0, doing: `list IPv${family} routes`, body: header };
}

function assertBody(message: NetlinkMessage, type: number, length: number): void {
  if (message.type !== type || message.body.length < length)
    throw new CricketError("internal", `netlink message of type ${message.type}, expected ${type}`);
}

/** Throws internal where the message is not an RTM_NEWLINK. */
export function decodeLink(message: NetlinkMessage): Link {
  assertBody(message, RTM_NEWLINK, 16);
  const flags = message.body.readUInt32LE(8);
  const attributes = decodeAttributes(message.body, 16);
  const linkInfo = attributes.get(IFLA_LINKINFO);
  const kind = linkInfo === undefined ? undefined : decodeAttributes(linkInfo).get(IFLA_INFO_KIND);
  const hardware = attributes.get(IFLA_ADDRESS)?.toString("hex") ?? "";
  return {
    index: message.body.readInt32LE(4),
    name: stringOf(attributes.get(IFLA_IFNAME)) ?? "",
    up: (flags & IFF_UP) !== 0,
    carrier: (flags & IFF_LOWER_UP) !== 0,
    mtu: u32Of(attributes.get(IFLA_MTU)) ?? 0,
    kind: stringOf(kind) ?? "",
    masterIndex: u32Of(attributes.get(IFLA_MASTER)) ?? 0,
    alias: stringOf(attributes.get(IFLA_IFALIAS)) ?? "",
    hardwareAddress: hardware.match(/../g)?.join(":") ?? "",
    statistics: decodeStatistics(attributes.get(IFLA_STATS64)),
  };
}

// struct rtnl_link_stats64: 64-bit counters in a fixed order that only grows at its end.
function decodeStatistics(bytes: Buffer | undefined): InterfaceStatistics | undefined {
  if (bytes === undefined || bytes.length < 64) return undefined;
  const counter = (index: number): bigint => bytes.readBigUInt64LE(index * 8);
  return {
    rxPackets: counter(0),
    txPackets: counter(1),
    rxBytes: counter(2),
    txBytes: counter(3),
    rxErrors: counter(4),
    txErrors: counter(5),
    rxDropped: counter(6),
    txDropped: counter(7),
  };
}

/** Throws internal where the message is not an RTM_NEWADDR. */
export function decodeAddress(message: NetlinkMessage): LinkAddress {
  assertBody(message, RTM_NEWADDR, 8);
  const attributes = decodeAttributes(message.body, 8);
  return {
    linkIndex: message.body.readUInt32LE(4),
    prefixLength: message.body.readUInt8(1),
    address: attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS) ?? Buffer.alloc(0),
  };
}

/** Undefined for routes that are not in the main table. Throws internal where the message is not an RTM_NEWROUTE. */
export function decodeRoute(message: NetlinkMessage): Route | undefined {
  assertBody(message, RTM_NEWROUTE, 12);
  const attributes = decodeAttributes(message.body, 12);
  const table = u32Of(attributes.get(RTA_TABLE)) ?? message.body.readUInt8(4);
  if (table !== RT_TABLE_MAIN) return undefined;
  return {
    linkIndex: u32Of(attributes.get(RTA_OIF)) ?? 0,
    destination: attributes.get(RTA_DST),
    prefixLength: attributes.has(RTA_DST) ? message.body.readUInt8(1) : 0,
    gateway: attributes.get(RTA_GATEWAY),
  };
}

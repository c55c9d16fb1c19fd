// Moving a network device from one network namespace to another, with what the kernel drops on the way: its addresses.
import { attribute, decodeAttributes, NLM_F_CREATE, NLM_F_EXCL, stringAttribute } from "./netlink-message.ts";
import { u32Attribute, u32Of, type NetlinkMessage, type NetlinkRequest } from "./netlink-message.ts";

// linux/rtnetlink.h, if_link.h, if_addr.h
const RTM_SETLINK = 19;
const RTM_NEWADDR = 20;
const RT_SCOPE_UNIVERSE = 0;
const IFLA_IFNAME = 3;
const IFLA_NET_NS_FD = 28;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;
const IFA_FLAGS = 8;
const IFA_RT_PRIORITY = 9;
const IFA_F_NODAD = 0x02;
const IFA_F_PERMANENT = 0x80;
const IFA_F_MANAGETEMPADDR = 0x100;
const IFA_F_NOPREFIXROUTE = 0x200;
const IFA_F_MCAUTOJOIN = 0x400;
const AF_INET6 = 10;

const keptFlags = IFA_F_MANAGETEMPADDR | IFA_F_NOPREFIXROUTE | IFA_F_MCAUTOJOIN;
// The label is made of the device's old name, and the cache info is about the past.
const keptAttributes: readonly number[] = [IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_RT_PRIORITY];

/** RTM_SETLINK: into the namespace of `namespaceFd` under `name`, in which "%d" is a number of the kernel's choice. */
export function moveLink(index: number, namespaceFd: number, name: string): NetlinkRequest {
  const header = Buffer.alloc(16);
  header.writeInt32LE(index, 4);
  return {
    type: RTM_SETLINK,
    flags: 0,
    doing: `move link ${index} into the network namespace as ${name}`,
    body: Buffer.concat([
      header,
      u32Attribute(IFLA_NET_NS_FD, namespaceFd),
      stringAttribute(IFLA_IFNAME, name),
    ]),
  };
}

/** An RTM_NEWADDR message of link `index` that is worth keeping: permanent and of global scope. */
export function isKeptAddress({ type, body }: NetlinkMessage, index: number): boolean {
  if (type !== RTM_NEWADDR || body.length < 8 || body.readUInt32LE(4) !== index) return false;
  return body.readUInt8(3) === RT_SCOPE_UNIVERSE && (flagsOf(body) & IFA_F_PERMANENT) !== 0;
}

function flagsOf(body: Buffer): number {
  return u32Of(decodeAttributes(body, 8).get(IFA_FLAGS)) ?? body.readUInt8(2);
}

/** The same address for link `index`: the answer to a dump as a request. */
export function sameAddress({ body }: NetlinkMessage, index: number): NetlinkRequest {
  const header = Buffer.from(body.subarray(0, 8));
  header.writeUInt8(0, 2);
  header.writeUInt32LE(index, 4);
  const attributes = decodeAttributes(body, 8);
  // It was unique before; detection would keep it unusable for a second.
  const isIpv6 = header.readUInt8(0) === AF_INET6;
  const flags = (flagsOf(body) & keptFlags) | (isIpv6 ? IFA_F_NODAD : 0);
  const kept = keptAttributes.flatMap((number) => {
    const value = attributes.get(number);
    return value === undefined ? [] : [attribute(number, value)];
  });
  return {
    type: RTM_NEWADDR,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    doing: `give link ${index} its address again`,
    body: Buffer.concat([header, ...kept, u32Attribute(IFA_FLAGS, flags)]),
  };
}

// Connection tracking entries (nfnetlink_conntrack.h): packets of a flow that has one are not shown to NAT rules
// again, so a flow has to be forgotten when the rule that made it changes.
import { errnoOf } from "../base/errors.ts";
import {
  attribute,
  decodeAttributes,
  nestedAttribute,
  u32Attribute,
  u8Attribute,
  type NetlinkRequest,
} from "./netlink-message.ts";
import type { NetlinkSocket } from "./netlink-socket.ts";

const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT_GET = 1;
const IPCTNL_MSG_CT_DELETE = 2;
const CTA_TUPLE_ORIG = 1;
const CTA_FILTER = 25;
const CTA_TUPLE_PROTO = 2;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_DST_PORT = 3;
const CTA_FILTER_ORIG_FLAGS = 1;
const CTA_FILTER_REPLY_FLAGS = 2;
// Bits of the kernel's own table of what a filter compares (nf_conntrack_netlink.c).
const FILTER_PROTO_NUM = 1 << 3;
const FILTER_PROTO_DST_PORT = 1 << 5;
const IPPROTO_UDP = 17;
const AF_INET = 2;
const AF_INET6 = 10;

// struct nfgenmsg
const header = (family: 4 | 6): Buffer => Buffer.from([family === 4 ? AF_INET : AF_INET6, 0, 0, 0]);
const headerLength = 4;

function request(message: number, body: Buffer, doing: string): NetlinkRequest {
  return { type: (NFNL_SUBSYS_CTNETLINK << 8) | message, flags: 0, body, doing };
}

// Kernels before 5.8 ignore the filter and list all flows.
function listUdpFlows(family: 4 | 6, port: number): NetlinkRequest {
  const portBytes = Buffer.alloc(2);
  portBytes.writeUInt16BE(port);
  const protocol = nestedAttribute(
    CTA_TUPLE_PROTO,
    u8Attribute(CTA_PROTO_NUM, IPPROTO_UDP),
    attribute(CTA_PROTO_DST_PORT, portBytes),
  );
  const filter = nestedAttribute(
    CTA_FILTER,
    u32Attribute(CTA_FILTER_ORIG_FLAGS, FILTER_PROTO_NUM | FILTER_PROTO_DST_PORT),
    u32Attribute(CTA_FILTER_REPLY_FLAGS, 0),
  );
  const body = Buffer.concat([header(family), nestedAttribute(CTA_TUPLE_ORIG, protocol), filter]);
  return request(IPCTNL_MSG_CT_GET, body, `list UDP flows to port ${port}`);
}

/**
 * Forgets the UDP flows to a port of this host, so that their next packet meets the rules as they are now.
 * `socket` is a NETLINK_NETFILTER socket. Returns how many there were. Throws NetlinkError.
 */
export async function forgetUdpFlows(socket: NetlinkSocket, family: 4 | 6, port: number): Promise<number> {
  let forgotten = 0;
  for (const flow of await socket.dump(listUdpFlows(family, port))) {
    const tuple = decodeAttributes(flow.body, headerLength).get(CTA_TUPLE_ORIG);
    if (tuple === undefined || !isUdpTo(tuple, port)) continue;
    const body = Buffer.concat([header(family), nestedAttribute(CTA_TUPLE_ORIG, tuple)]);
    try {
      await socket.request([request(IPCTNL_MSG_CT_DELETE, body, `forget a UDP flow to port ${port}`)]);
      forgotten++;
    } catch (error) {
      // It ended by itself in the meantime.
      if (errnoOf(error) !== "ENOENT") throw error;
    }
  }
  return forgotten;
}

function isUdpTo(tuple: Buffer, port: number): boolean {
  const protocol = decodeAttributes(tuple).get(CTA_TUPLE_PROTO);
  if (protocol === undefined) return false;
  const fields = decodeAttributes(protocol);
  const destination = fields.get(CTA_PROTO_DST_PORT);
  return (
    fields.get(CTA_PROTO_NUM)?.[0] === IPPROTO_UDP &&
    destination?.length === 2 &&
    destination.readUInt16BE() === port
  );
}

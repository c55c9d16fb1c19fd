// Sends ICMPv6 router advertisements, as a hostile pod would.
import { check, libc } from "../../../src/linux/libc.ts";

const AF_INET6 = 10;
const SOCK_RAW = 3;
const IPPROTO_IPV6 = 41;
const IPPROTO_ICMPV6 = 58;
const IPV6_MULTICAST_HOPS = 18;

const cSocket = libc.func("int socket(int domain, int type, int protocol)");
const cSetsockopt = libc.func(
  "int setsockopt(int fd, int level, int name, const void *value, uint32_t length)",
);
const cSendto = libc.func(
  "intptr_t sendto(int fd, const void *bytes, size_t length, int flags, const void *address, uint32_t size)",
);
const cClose = libc.func("int close(int fd)");

/** To all nodes on the link with this index: a default router with a lifetime of half an hour. */
export function advertiseRouter(linkIndex: number): void {
  const fd = check(cSocket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6) as number, "socket");
  const hops = Buffer.alloc(4);
  // Receivers drop advertisements that may have passed a router (RFC 4861 6.1.2).
  hops.writeInt32LE(255);
  check(cSetsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, hops, 4) as number, "setsockopt");
  const message = Buffer.alloc(16);
  message.writeUInt8(134, 0);
  message.writeUInt8(64, 4);
  message.writeUInt16BE(1800, 6);
  const allNodes = Buffer.alloc(28);
  allNodes.writeUInt16LE(AF_INET6, 0);
  Buffer.from("ff020000000000000000000000000001", "hex").copy(allNodes, 8);
  allNodes.writeUInt32LE(linkIndex, 24);
  check(Number(cSendto(fd, message, message.length, 0, allNodes, allNodes.length)), "sendto");
  cClose(fd);
}

// Socket pairs and descriptors passed over them (unix(7), SCM_RIGHTS). libuv reads with read(2), which drops passed
// descriptors, so they travel over a pair of their own that only `recvmsg` reads.
import koffi from "koffi";
import { close } from "./files.ts";
import { check, lastErrno, libc } from "./libc.ts";
import { SyscallError } from "../base/errors.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_SEQPACKET = 5;
const SOCK_CLOEXEC = 0o2000000;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
// struct cmsghdr { size_t cmsg_len; int cmsg_level; int cmsg_type; }
const CMSG_HEADER_BYTES = 16;
const MAX_DESCRIPTORS = 8;

// int socketpair(int domain, int type, int protocol, int sv[2]);
const cSocketpair = libc.func("int socketpair(int domain, int type, int protocol, _Out_ int32_t *sv)");
// ssize_t recvmsg(int sockfd, struct msghdr *msg, int flags);
// ssize_t sendmsg(int sockfd, const struct msghdr *msg, int flags);
const cSendmsg = libc.func("intptr_t sendmsg(int sockfd, void *msg, int flags)");
const cRecvmsg = libc.func("intptr_t recvmsg(int sockfd, void *msg, int flags)");

/** socketpair(2), AF_UNIX; both ends are close-on-exec. The caller closes both. */
export function createSocketPair(type: "stream" | "seqpacket"): [number, number] {
  const ends = new Int32Array(2);
  const kind = (type === "stream" ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC;
  check(cSocketpair(AF_UNIX, kind, 0, ends) as number, "socketpair");
  return [ends[0]!, ends[1]!];
}

/** What the helper says a descriptor is (pause/program.h, enum handed_over). */
export const handedOver = { pidfd: 1, socket: 2, listener: 3, pty: 4 } as const;

export interface HandedDescriptor {
  kind: number;
  fd: number;
}

/** The receiving end of descriptors. It owns the socket and every descriptor that nobody took. */
export class DescriptorChannel {
  readonly #socket: number;
  #closed = false;

  constructor(socket: number) {
    this.#socket = socket;
  }

  /** All descriptors that have arrived, in the order they were sent; never blocks. They are close-on-exec. */
  takeAll(): HandedDescriptor[] {
    const descriptors: HandedDescriptor[] = [];
    for (;;) {
      const message = receiveDescriptors(this.#socket);
      if (message === undefined) return descriptors;
      descriptors.push(...message);
    }
  }

  /** Closes the socket, and descriptors that were sent and not taken. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      for (const { fd } of this.takeAll()) close(fd);
    } finally {
      close(this.#socket);
    }
  }
}

// One message with its descriptors; undefined when none is there or the other end is closed.
function receiveDescriptors(socket: number): HandedDescriptor[] | undefined {
  const message = receiveMessage(socket, 64);
  if (typeof message === "string") return undefined;
  return message.descriptors.map((fd) => ({ kind: message.bytes[0]!, fd }));
}

export interface ReceivedMessage {
  bytes: Buffer;
  /** Close-on-exec; the caller's. */
  descriptors: number[];
}

/** recvmsg(2) without waiting. A message that is longer than `maxBytes` throws EMSGSIZE, one without a byte is an end. */
export function receiveMessage(socket: number, maxBytes: number): ReceivedMessage | "empty" | "closed" {
  const bytes = Buffer.alloc(maxBytes);
  const control = Buffer.alloc(CMSG_HEADER_BYTES + 4 * MAX_DESCRIPTORS);
  const part = Buffer.alloc(16);
  part.writeBigUInt64LE(koffi.address(bytes), 0);
  part.writeBigUInt64LE(BigInt(maxBytes), 8);
  // struct msghdr of 64-bit Linux: name, namelen, iov, iovlen, control, controllen, flags.
  const header = Buffer.alloc(56);
  header.writeBigUInt64LE(koffi.address(part), 16);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(koffi.address(control), 32);
  header.writeBigUInt64LE(BigInt(control.length), 40);
  for (;;) {
    const size = Number(cRecvmsg(socket, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
    if (size > 0) {
      const descriptors = parseRights(control.subarray(0, Number(header.readBigUInt64LE(40))));
      if ((header.readInt32LE(48) & MSG_TRUNC) === 0) return { bytes: bytes.subarray(0, size), descriptors };
      for (const fd of descriptors) close(fd);
      throw new SyscallError("recvmsg", "EMSGSIZE");
    }
    if (size === 0) return "closed";
    const errno = lastErrno();
    if (errno === "EINTR") continue;
    if (errno === "EAGAIN") return "empty";
    if (errno === "ECONNRESET") return "closed";
    throw new SyscallError("recvmsg", errno);
  }
}

function parseRights(control: Buffer): number[] {
  if (control.length < CMSG_HEADER_BYTES) return [];
  const length = Number(control.readBigUInt64LE(0));
  if (control.readInt32LE(8) !== SOL_SOCKET || control.readInt32LE(12) !== SCM_RIGHTS) return [];
  const descriptors: number[] = [];
  for (let at = CMSG_HEADER_BYTES; at + 4 <= Math.min(length, control.length); at += 4)
    descriptors.push(control.readInt32LE(at));
  return descriptors;
}

/**
 * sendmsg(2): `bytes` (at least one) with descriptors, which stay the caller's. Returns how many bytes the socket took, as
 * a stream may take less than all.
 */
export function sendDescriptors(socket: number, bytes: Uint8Array, descriptors: readonly number[]): number {
  const content = Buffer.from(bytes);
  const controlLength = CMSG_HEADER_BYTES + 4 * descriptors.length;
  const control = Buffer.alloc(Math.ceil(controlLength / 8) * 8);
  control.writeBigUInt64LE(BigInt(controlLength), 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(SCM_RIGHTS, 12);
  descriptors.forEach((fd, index) => control.writeInt32LE(fd, CMSG_HEADER_BYTES + 4 * index));
  const part = Buffer.alloc(16);
  part.writeBigUInt64LE(koffi.address(content), 0);
  part.writeBigUInt64LE(BigInt(content.length), 8);
  const header = Buffer.alloc(56);
  header.writeBigUInt64LE(koffi.address(part), 16);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(koffi.address(control), 32);
  header.writeBigUInt64LE(BigInt(control.length), 40);
  return check(Number(cSendmsg(socket, header, MSG_NOSIGNAL)), "sendmsg");
}

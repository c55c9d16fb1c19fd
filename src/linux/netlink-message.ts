// The netlink wire format (netlink(7)): messages, their attributes, and the kernel's answers. Every length is
// checked in both directions: a length that does not fit its 16 bits turns payload into attributes (CVE-2021-43784).
import { CricketError } from "../base/errors.ts";

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_DUMP = 0x300;
export const NLM_F_CREATE = 0x400;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

const headerLength = 16;
const attributeHeaderLength = 4;
const NLA_F_NESTED = 0x8000;
const attributeTypeMask = 0x3fff;
const NLMSGERR_ATTR_MSG = 1;

/** A request before it has a sequence number. `body` is the family header followed by the attributes. */
export interface NetlinkRequest {
  type: number;
  /** NLM_F_ bits beyond NLM_F_REQUEST. */
  flags: number;
  body: Buffer;
  /** What it does, for errors: "create veth crk0123 on cricket0". */
  doing: string;
}

export interface NetlinkMessage {
  type: number;
  flags: number;
  sequence: number;
  body: Buffer;
}

const align = (length: number): number => (length + 3) & ~3;

/** One attribute: header, payload, padding. Throws internal where the payload does not fit. */
export function attribute(type: number, payload: Uint8Array): Buffer {
  const length = attributeHeaderLength + payload.length;
  if (length > 0xffff)
    throw new CricketError("internal", `netlink attribute ${type}: ${payload.length} bytes are too long`);
  const bytes = Buffer.alloc(align(length));
  bytes.writeUInt16LE(length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(payload, attributeHeaderLength);
  return bytes;
}

export function u8Attribute(type: number, value: number): Buffer {
  return attribute(type, Buffer.from([value]));
}

export function u32Attribute(type: number, value: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32LE(value >>> 0);
  return attribute(type, payload);
}

/** A NUL-terminated string; a NUL inside it would cut it short in the kernel and is refused. */
export function stringAttribute(type: number, value: string): Buffer {
  if (value.includes("\0"))
    throw new CricketError("internal", `netlink attribute ${type}: string with a NUL`);
  return attribute(type, Buffer.from(`${value}\0`));
}

export function nestedAttribute(type: number, ...parts: Uint8Array[]): Buffer {
  return attribute(type | NLA_F_NESTED, Buffer.concat(parts));
}

/** The bytes of a request as sent: header, body, padding to the next message of a batch. */
export function encodeRequest(request: NetlinkRequest, sequence: number): Buffer {
  const length = headerLength + request.body.length;
  const bytes = Buffer.alloc(align(length));
  bytes.writeUInt32LE(length, 0);
  bytes.writeUInt16LE(request.type, 4);
  bytes.writeUInt16LE(request.flags | NLM_F_REQUEST, 6);
  bytes.writeUInt32LE(sequence, 8);
  bytes.set(request.body, headerLength);
  return bytes;
}

/** Splits one datagram of the kernel. Throws internal where a length points outside of it. */
export function decodeMessages(bytes: Buffer): NetlinkMessage[] {
  const messages: NetlinkMessage[] = [];
  for (let offset = 0; offset < bytes.length;) {
    const left = bytes.length - offset;
    const length = left >= headerLength ? bytes.readUInt32LE(offset) : 0;
    if (length < headerLength || length > left)
      throw new CricketError(
        "internal",
        `netlink message of ${length} bytes at ${offset} of ${bytes.length}`,
      );
    messages.push({
      type: bytes.readUInt16LE(offset + 4),
      flags: bytes.readUInt16LE(offset + 6),
      sequence: bytes.readUInt32LE(offset + 8),
      body: bytes.subarray(offset + headerLength, offset + length),
    });
    offset += align(length);
  }
  return messages;
}

/** Attributes by type, without the nested flag; the last of a type wins. Throws internal on a bad length. */
export function decodeAttributes(bytes: Buffer, start = 0): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  for (let offset = start; offset < bytes.length;) {
    const left = bytes.length - offset;
    const length = left >= attributeHeaderLength ? bytes.readUInt16LE(offset) : 0;
    if (length < attributeHeaderLength || length > left)
      throw new CricketError(
        "internal",
        `netlink attribute of ${length} bytes at ${offset} of ${bytes.length}`,
      );
    const type = bytes.readUInt16LE(offset + 2) & attributeTypeMask;
    attributes.set(type, bytes.subarray(offset + attributeHeaderLength, offset + length));
    offset += align(length);
  }
  return attributes;
}

/** The string of an attribute up to its NUL; undefined where the attribute is absent. */
export function stringOf(payload: Buffer | undefined): string | undefined {
  if (payload === undefined) return undefined;
  const end = payload.indexOf(0);
  return payload.toString("utf8", 0, end === -1 ? payload.length : end);
}

/** The number of a 32-bit attribute; undefined where it is absent or of another size. */
export function u32Of(payload: Buffer | undefined): number | undefined {
  return payload?.length === 4 ? payload.readUInt32LE() : undefined;
}

export interface NetlinkAnswer {
  /** 0, or a positive errno. */
  errno: number;
  /** The kernel's own words (NETLINK_EXT_ACK), "" where it has none. */
  text: string;
}

/** The content of an NLMSG_ERROR message, which also carries successes (errno 0). */
export function decodeAnswer(message: NetlinkMessage): NetlinkAnswer {
  const body = message.body;
  if (body.length < 4 + headerLength)
    throw new CricketError("internal", `netlink answer of ${body.length} bytes`);
  const errno = Math.abs(body.readInt32LE(0));
  if ((message.flags & NLM_F_ACK_TLVS) === 0) return { errno, text: "" };
  // A capped answer repeats only the request's header, an uncapped one the whole request.
  const echoed = (message.flags & NLM_F_CAPPED) !== 0 ? headerLength : align(body.readUInt32LE(4));
  const attributes = decodeAttributes(body, Math.min(4 + echoed, body.length));
  return { errno, text: stringOf(attributes.get(NLMSGERR_ATTR_MSG)) ?? "" };
}

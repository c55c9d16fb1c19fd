// Whole messages: header fields, framing in a stream (D-Bus specification, "Message format").
import { decodeValues } from "./dbus-reader.ts";
import { protocolError, type DBusValue, type DBusVariant } from "./dbus-signature.ts";
import { encodeValues } from "./dbus-writer.ts";

export type MessageType = "call" | "return" | "error" | "signal";

export interface DBusMessage {
  type: MessageType;
  /** Not 0. */
  serial: number;
  noReplyExpected?: boolean;
  path?: string;
  interface?: string;
  member?: string;
  errorName?: string;
  /** The serial of the call that this answers. */
  replySerial?: number;
  destination?: string;
  sender?: string;
  signature?: string;
  body?: readonly DBusValue[];
}

const types: readonly MessageType[] = ["call", "return", "error", "signal"];
const fieldNames = [
  "path",
  "interface",
  "member",
  "errorName",
  "replySerial",
  "destination",
  "sender",
  "signature",
] as const;
const fieldTypes = ["o", "s", "s", "s", "u", "s", "s", "g"] as const;
const NO_REPLY_EXPECTED = 1;
const protocolVersion = 1;
const fixedBytes = 16;

/** systemd's answers here are a few hundred bytes; the specification would allow 128 MiB. */
const maxMessageBytes = 4 << 20;

// Not with bits: a length of the other side has 32, and would come out negative.
const aligned = (length: number): number => Math.ceil(length / 8) * 8;

export function encodeMessage(message: DBusMessage): Buffer {
  const { signature = "", body = [] } = message;
  const bodyBytes = encodeValues(signature, body);
  const fields = fieldNames.flatMap((name, index): DBusValue[] => {
    const value = message[name];
    if (value === undefined || value === "") return [];
    return [[index + 1, { signature: fieldTypes[index] ?? "s", value }]];
  });
  const header = encodeValues("yyyyuua(yv)", [
    "l".charCodeAt(0),
    types.indexOf(message.type) + 1,
    message.noReplyExpected === true ? NO_REPLY_EXPECTED : 0,
    protocolVersion,
    bodyBytes.length,
    message.serial,
    fields,
  ]);
  return Buffer.concat([header, Buffer.alloc(aligned(header.length) - header.length), bodyBytes]);
}

/** The first message of `bytes` and its length; undefined while it is not all there. Throws CricketError. */
export function decodeMessage(bytes: Buffer): { message: DBusMessage; length: number } | undefined {
  if (bytes.length < fixedBytes) return undefined;
  const littleEndian = isLittleEndian(bytes[0]);
  const uint32 = (at: number): number => (littleEndian ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  const bodyLength = uint32(4);
  const headerLength = fixedBytes + uint32(12);
  const length = aligned(headerLength) + bodyLength;
  if (length > maxMessageBytes) throw protocolError(`a message of ${length} bytes`);
  if (bytes.length < length) return undefined;
  const header = decodeValues("yyyyuua(yv)", bytes.subarray(0, headerLength), littleEndian);
  const message = readHeader(header);
  const body = decodeValues(
    message.signature ?? "",
    bytes.subarray(aligned(headerLength), length),
    littleEndian,
  );
  return { message: { ...message, body }, length };
}

function isLittleEndian(mark: number | undefined): boolean {
  if (mark === "l".charCodeAt(0)) return true;
  if (mark === "B".charCodeAt(0)) return false;
  throw protocolError(`a message begins with ${mark}`);
}

function readHeader([, code, flags, version, , serial, fields]: DBusValue[]): DBusMessage {
  const type = types[Number(code) - 1];
  if (version !== protocolVersion) throw protocolError(`protocol version ${Number(version)}`);
  if (type === undefined || serial === 0) throw protocolError(`a message of type ${Number(code)}`);
  const message: DBusMessage = { type, serial: Number(serial) };
  if ((Number(flags) & NO_REPLY_EXPECTED) !== 0) message.noReplyExpected = true;
  for (const field of fields as [number, DBusVariant][]) setField(message, field);
  return message;
}

// Fields that are not known are left alone, as the specification demands.
function setField(message: DBusMessage, [code, { signature, value }]: [number, DBusVariant]): void {
  const name = fieldNames[code - 1];
  if (name === undefined) return;
  if (signature !== fieldTypes[code - 1]) throw protocolError(`header field ${name} of type ${signature}`);
  Object.assign(message, { [name]: value });
}

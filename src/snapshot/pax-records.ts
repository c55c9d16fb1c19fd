// Pax extended headers (POSIX.1-2017 pax, "pax Extended Header"): read as bytes, since the value of an extended
// attribute (security.capability) is binary and would not survive being decoded as text.
import type { Timespec } from "../linux/files.ts";
import { badArchive } from "./tar-entry.ts";

/** A list and not a map: GNU sparse format 0.0 repeats its keys, and their order matters. */
export type PaxRecord = readonly [key: string, value: Buffer];

/** Parses "<length> <key>=<value>\n" records. Throws for any record that does not have exactly that form. */
export function parsePaxRecords(bytes: Buffer): PaxRecord[] {
  const records: PaxRecord[] = [];
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(0x20, at);
    const lengthText = space === -1 ? "" : bytes.toString("latin1", at, space);
    // Some writers pad the header with NUL up to its block.
    if (records.length > 0 && isZero(bytes.subarray(at))) break;
    if (!/^[0-9]{1,7}$/.test(lengthText)) throw badArchive("malformed pax header: bad record length");
    const end = at + Number(lengthText);
    const equals = bytes.indexOf(0x3d, space);
    if (end > bytes.length || end <= space + 2 || bytes[end - 1] !== 0x0a)
      throw badArchive("malformed pax header: record length does not match");
    if (equals === -1 || equals >= end) throw badArchive("malformed pax header: record without a key");
    records.push([
      bytes.toString("utf8", space + 1, equals),
      Buffer.from(bytes.subarray(equals + 1, end - 1)),
    ]);
    at = end;
  }
  return records;
}

function isZero(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0);
}

/** A non-negative decimal number that a JavaScript number holds exactly. */
export function parseDecimal(text: string, what: string): number {
  const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw badArchive(`${what}: bad number ${JSON.stringify(text)}`);
  return value;
}

/** "<seconds>[.<fraction>]", negative before 1970; exact to the nanosecond, further digits are cut. */
export function parsePaxTime(text: string): Timespec {
  const match = /^(-?)([0-9]{1,18})(?:\.([0-9]*))?$/.exec(text);
  if (match === null) throw badArchive(`pax time: bad number ${JSON.stringify(text)}`);
  const [, sign = "", seconds = "", fraction = ""] = match;
  const whole = BigInt(seconds);
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, "0"));
  if (sign === "") return { seconds: whole, nanoseconds };
  // A timespec counts nanoseconds forward: -1.25 s is -2 s + 750,000,000 ns.
  if (nanoseconds === 0) return { seconds: -whole, nanoseconds };
  return { seconds: -whole - 1n, nanoseconds: 1_000_000_000 - nanoseconds };
}

// IP addresses as numbers, so that allocation is arithmetic.
import { isIP } from "node:net";
import { invalidArgument } from "../base/errors.ts";

export type IpFamily = 4 | 6;

export interface IpAddress {
  family: IpFamily;
  value: bigint;
}

export const addressBits = (family: IpFamily): number => (family === 4 ? 32 : 128);

/** Undefined for anything that is not a plain address: zone ids ("fe80::1%eth0") are not. */
export function tryParseIp(text: string): IpAddress | undefined {
  const family = isIP(text);
  if (family === 4) return { family, value: parseQuad(text) };
  if (family === 6 && !text.includes("%")) return { family, value: parseGroups(text) };
  return undefined;
}

/** Throws invalid-argument that names `field`. */
export function parseIp(text: string, field: string): IpAddress {
  const address = tryParseIp(text);
  if (address === undefined) throw invalidArgument(`${field}: ${JSON.stringify(text)} is not an IP address`);
  return address;
}

function parseQuad(text: string): bigint {
  return text.split(".").reduce((value, octet) => (value << 8n) | BigInt(octet), 0n);
}

function parseGroups(text: string): bigint {
  // An IPv4 tail ("::ffff:10.0.0.1") stands for the last two groups.
  const tail = /[^:]*\.[^:]*$/.exec(text)?.[0];
  let groups = text;
  if (tail !== undefined) {
    const value = parseQuad(tail);
    groups = `${text.slice(0, -tail.length)}${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
  }
  const [head = "", rest] = groups.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = rest === undefined || rest === "" ? [] : rest.split(":");
  const zeros = rest === undefined ? 0 : 8 - left.length - right.length;
  const all = [...left, ...Array.from({ length: zeros }, () => "0"), ...right];
  return all.reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}

/** The inverse of parseIp; IPv6 in the canonical form of RFC 5952. */
export function formatIp(address: IpAddress): string {
  return address.family === 4 ? formatQuad(address.value) : formatGroups(address.value);
}

function formatQuad(value: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 0xffn)).join(".");
}

function formatGroups(value: bigint): string {
  const groups = Array.from({ length: 8 }, (_, index) =>
    ((value >> BigInt(16 * (7 - index))) & 0xffffn).toString(16),
  );
  // RFC 5952 4.2: the longest run of two or more zero groups, the first of equals, becomes "::".
  let best = { start: 0, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (groups[start + length] === "0") length++;
    if (length > best.length) best = { start, length };
  }
  if (best.length === 1) return groups.join(":");
  const left = groups.slice(0, best.start).join(":");
  return `${left}::${groups.slice(best.start + best.length).join(":")}`;
}

/** The address in network byte order: 4 or 16 bytes. */
export function ipBytes(address: IpAddress): Buffer {
  const digits = addressBits(address.family) / 4;
  return Buffer.from(address.value.toString(16).padStart(digits, "0"), "hex");
}

// The subnet of a pod network: which of its addresses pods get.
import { invalidArgument } from "../base/errors.ts";
import { addressBits, formatIp, parseIp, type IpAddress, type IpFamily } from "./ip-address.ts";

/** A range of addresses by its prefix. */
export interface SubnetRange {
  family: IpFamily;
  prefixLength: number;
  network: bigint;
}

export interface Subnet extends SubnetRange {
  /** The bridge's own address: the first one. */
  gateway: IpAddress;
  /** First and last address of pods, inclusive. */
  firstPod: bigint;
  lastPod: bigint;
  /** IPv4 only. */
  broadcast: IpAddress | undefined;
}

/**
 * Parses "10.88.0.0/16". Throws invalid-argument that names `field` for anything else, for bits set beyond the
 * prefix, and for a subnet without room for a gateway and a pod.
 */
export function parseSubnet(text: string, field: string): Subnet {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text);
  if (match === null)
    throw invalidArgument(`${field}: ${JSON.stringify(text)} is not a subnet like 10.88.0.0/16`);
  const { family, value } = parseIp(match[1] ?? "", field);
  const prefixLength = Number(match[2]);
  const bits = addressBits(family);
  if (prefixLength < 1 || prefixLength > bits - 2)
    throw invalidArgument(`${field}: prefix length ${prefixLength} of ${text} is not in 1..${bits - 2}`);
  const size = 1n << BigInt(bits - prefixLength);
  if (value % size !== 0n) throw invalidArgument(`${field}: ${text} has bits set beyond its prefix`);
  return {
    family,
    prefixLength,
    network: value,
    gateway: { family, value: value + 1n },
    firstPod: value + 2n,
    lastPod: value + size - (family === 4 ? 2n : 1n),
    broadcast: family === 4 ? { family, value: value + size - 1n } : undefined,
  };
}

/** The range that `address` lies in. */
export function rangeOf(address: IpAddress, prefixLength: number): SubnetRange {
  const hostBits = BigInt(addressBits(address.family) - prefixLength);
  return { family: address.family, prefixLength, network: (address.value >> hostBits) << hostBits };
}

export function formatSubnet(subnet: SubnetRange): string {
  return `${formatIp({ family: subnet.family, value: subnet.network })}/${subnet.prefixLength}`;
}

/** True for the addresses that pods may have. */
export function isPodAddress(subnet: Subnet, address: IpAddress): boolean {
  return (
    address.family === subnet.family && address.value >= subnet.firstPod && address.value <= subnet.lastPod
  );
}

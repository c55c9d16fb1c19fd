// The result of ADD (CNI 1.1, section 5): checked as far as we use it, and otherwise passed on as the plugin said it.
import { CricketError, messageOf } from "../../base/errors.ts";
import type { PodIp } from "../host-ports.ts";
import { formatIp, tryParseIp, type IpAddress } from "../ip-address.ts";
import { rangeOf } from "../subnet.ts";
import { atLeast, isSupportedVersion, type CniVersion } from "./cni-version.ts";
import { objectsField, parseJsonObject, stringField, type JsonObject } from "./json-object.ts";

export interface CniInterface {
  name: string;
  /** Path of the network namespace, "" on the host. */
  sandbox: string;
}

/**
 * Reads what a plugin printed for ADD and returns it in the version that was asked for, which is what the next plugin
 * of the chain has to get.
 * @throws internal naming `what`
 */
export function parseResult(text: string, version: CniVersion, what: string): JsonObject {
  try {
    const result = parseJsonObject(text, "the result");
    // Plugins that leave it out or empty are common: libcni takes their word as given in the version asked for.
    const actual = stringField(result, "cniVersion") || version;
    if (!isSupportedVersion(actual))
      throw new CricketError("internal", `the result is of version ${JSON.stringify(actual.slice(0, 32))}`);
    const ips = addressesOf(result).map(({ entry, ip }) => convertAddress(entry, ip.family, version));
    interfacesOf(result);
    return { ...result, cniVersion: version, ...(result["ips"] === undefined ? {} : { ips }) };
  } catch (error) {
    throw new CricketError("internal", `${what}: ${messageOf(error)}`, { cause: error });
  }
}

// Until 0.4.0 every address says its family in a field of its own, which 1.0.0 took away.
function convertAddress(entry: JsonObject, family: 4 | 6, version: CniVersion): JsonObject {
  const { version: _family, ...rest } = entry;
  return atLeast(version, "1.0.0") ? rest : { version: String(family), ...rest };
}

interface ResultAddress {
  entry: JsonObject;
  ip: IpAddress;
  prefixLength: number;
  interfaceIndex: number | undefined;
}

function addressesOf(result: JsonObject): ResultAddress[] {
  return objectsField(result, "ips").map((entry, index) => {
    const text = stringField(entry, "address");
    const [address = "", prefix = "", ...rest] = text.split("/");
    const ip = tryParseIp(address);
    const isPrefix = /^\d{1,3}$/.test(prefix) && Number(prefix) <= (ip?.family === 4 ? 32 : 128);
    if (ip === undefined || !isPrefix || rest.length > 0)
      throw new CricketError(
        "internal",
        `ips[${index}].address ${JSON.stringify(text.slice(0, 64))} is no address`,
      );
    const interfaceIndex = entry["interface"] ?? undefined;
    if (interfaceIndex !== undefined && !Number.isInteger(interfaceIndex))
      throw new CricketError("internal", `ips[${index}].interface is not a number`);
    return {
      entry,
      ip,
      prefixLength: Number(prefix),
      interfaceIndex: interfaceIndex as number | undefined,
    };
  });
}

export function interfacesOf(result: JsonObject): CniInterface[] {
  return objectsField(result, "interfaces").map((entry) => ({
    name: stringField(entry, "name"),
    sandbox: stringField(entry, "sandbox"),
  }));
}

/**
 * The addresses of the pod, without prefix length: those on interfaces inside it, and those that name no interface.
 * Addresses of `interfaceName` come before those of other interfaces, otherwise the plugins' order stands.
 * @throws internal where an address names an interface that is not in the result
 */
export function podAddresses(result: JsonObject, interfaceName: string): string[] {
  return [...new Set(podEntries(result, interfaceName).map(({ ip }) => formatIp(ip)))];
}

/** The same with the range each address was given in, whose other addresses may be on the same link. */
export function podIps(result: JsonObject, interfaceName: string): PodIp[] {
  return podEntries(result, interfaceName).map(({ ip, prefixLength }) => ({
    ...ip,
    neighbours: rangeOf(ip, prefixLength),
  }));
}

function podEntries(result: JsonObject, interfaceName: string): ResultAddress[] {
  const interfaces = interfacesOf(result);
  const primary: ResultAddress[] = [];
  const additional: ResultAddress[] = [];
  for (const address of addressesOf(result)) {
    const { interfaceIndex } = address;
    const link = interfaceIndex === undefined ? undefined : interfaces[interfaceIndex];
    if (interfaceIndex !== undefined && link === undefined)
      throw new CricketError("internal", `the result has no interface ${interfaceIndex}`);
    // What every pod has by itself is not what others reach it by.
    if (link?.sandbox === "" || isLoopback(formatIp(address.ip))) continue;
    (link === undefined || link.name === interfaceName ? primary : additional).push(address);
  }
  return [...primary, ...additional];
}

const isLoopback = (address: string): boolean => address === "::1" || address.startsWith("127.");

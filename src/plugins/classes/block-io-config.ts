// The file that names classes of block I/O, in the format that other runtimes read, too (goresctrl, pkg/blockio):
//
//   Classes:
//     slow:
//       - Devices: [/dev/sd?]
//         ThrottleReadBps: 60M
//       - Weight: 50
import { invalidArgument } from "../../base/errors.ts";
import { tryParseQuantity } from "../../base/quantity.ts";
import { isDevicePattern } from "./find-devices.ts";

/** What some devices get, or all of them where there are none in it: that can be a weight alone. */
export interface BlockIoParameters {
  /** Paths with wildcards. */
  devices: string[] | undefined;
  /** 10 to 1000. */
  weight: number | undefined;
  throttles: Partial<Record<ThrottleName, bigint>>;
}

const throttleNames = [
  "throttleReadBps",
  "throttleWriteBps",
  "throttleReadIOPS",
  "throttleWriteIOPS",
] as const;

export type ThrottleName = (typeof throttleNames)[number];

/** Classes by name. @throws CricketError invalid-argument naming the property */
export function parseBlockIoConfig(document: unknown): Map<string, BlockIoParameters[]> {
  // An empty file has no classes.
  if (document === null || document === undefined) return new Map();
  const { classes } = members(document, "", ["classes"]);
  if (classes === null || classes === undefined) return new Map();
  return new Map(
    Object.entries(mapping(classes, "Classes")).map(([name, list]) => {
      const at = `Classes.${name}`;
      if (!Array.isArray(list)) throw invalidArgument(`${at} is not a list`);
      return [name, list.map((entry, index) => parametersOf(entry, `${at}[${index}]`))];
    }),
  );
}

function parametersOf(entry: unknown, at: string): BlockIoParameters {
  const known = ["devices", "weight", ...throttleNames.map((name) => name.toLowerCase())];
  const given = members(entry, at, known);
  const devices = given["devices"] === undefined ? undefined : patternsOf(given["devices"], `${at}.Devices`);
  const weight = quantityOf(given["weight"], `${at}.Weight`);
  if (weight !== undefined && (weight < 10n || weight > 1000n))
    throw invalidArgument(`${at}.Weight is ${weight}: not in 10..1000`);
  const throttles: BlockIoParameters["throttles"] = {};
  for (const name of throttleNames) {
    const property = `${at}.${name[0]!.toUpperCase()}${name.slice(1)}`;
    const rate = quantityOf(given[name.toLowerCase()], property);
    if (rate === undefined) continue;
    if (devices === undefined) throw invalidArgument(`${property} is set without Devices`);
    throttles[name] = rate;
  }
  return { devices, weight: weight === undefined ? undefined : Number(weight), throttles };
}

function patternsOf(value: unknown, at: string): string[] {
  if (!Array.isArray(value)) throw invalidArgument(`${at} is not a list`);
  return value.map((pattern: unknown, index) => {
    if (typeof pattern !== "string" || !isDevicePattern(pattern))
      throw invalidArgument(`${at}[${index}] is ${JSON.stringify(pattern)}: not the path of devices`);
    return pattern;
  });
}

function quantityOf(value: unknown, at: string): bigint | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  const quantity =
    typeof value === "string" || typeof value === "number" ? tryParseQuantity(String(value)) : undefined;
  if (quantity === undefined || quantity >= 1n << 63n)
    throw invalidArgument(`${at} is ${JSON.stringify(value)}: not a quantity`);
  return quantity;
}

/** By their names in lower case: what reads the file elsewhere does not tell them apart. */
function members(value: unknown, at: string, known: readonly string[]): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [key, member] of Object.entries(mapping(value, at === "" ? "the file" : at))) {
    const name = key.toLowerCase();
    if (!known.includes(name)) throw invalidArgument(`${at === "" ? key : `${at}.${key}`} is not known`);
    if (Object.hasOwn(result, name)) throw invalidArgument(`${at}.${key} is there twice`);
    result[name] = member;
  }
  return result;
}

function mapping(value: unknown, at: string): object {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalidArgument(`${at} is not a mapping`);
  return value;
}

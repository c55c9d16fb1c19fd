// Shapes of JSON documents from outside: each turns an `unknown` into a typed value or throws invalid-argument with
// the property's name, such as `linux.resources.memory.limit is "10": not an integer`.
import { invalidArgument } from "../base/errors.ts";

/**
 * Checks `value` and returns it typed; `at` is the property's path for the error. Paths of properties that no shape names
 * are added to `unknown`.
 */
export type Shape<T> = (value: unknown, at: string, unknown?: string[]) => T;

interface Field<T> {
  shape: Shape<T>;
  required: boolean;
}

/** For each property of T: its shape and whether it must be there. */
type Fields<T> = { [K in keyof T]-?: Field<Exclude<T[K], undefined>> };

export const required = <T>(shape: Shape<T>): Field<T> => ({ shape, required: true });
export const optional = <T>(shape: Shape<T>): Field<T> => ({ shape, required: false });

function describe(value: unknown): string {
  const text = (stringifyExactIntegers(value) as string | undefined) ?? typeof value;
  return text.length > 64 ? `${text.slice(0, 61)}...` : text;
}

function refuse(value: unknown, at: string, why: string): never {
  throw invalidArgument(`${at} is ${describe(value)}: ${why}`);
}

export const string: Shape<string> = (value, at) => {
  if (typeof value !== "string") return refuse(value, at, "not a string");
  // Everything here ends in a system call, which would silently stop at a NUL.
  if (value.includes("\0")) return refuse(value, at, "it contains a NUL byte");
  return value;
};

export const nonEmpty: Shape<string> = (value, at) => {
  const text = string(value, at);
  return text === "" ? refuse(value, at, "must not be empty") : text;
};

export const absolutePath: Shape<string> = (value, at) => {
  const text = string(value, at);
  return text.startsWith("/") ? text : refuse(value, at, "not an absolute path");
};

export const boolean: Shape<boolean> = (value, at) =>
  typeof value === "boolean" ? value : refuse(value, at, "not a boolean");

/** An integer in [min, max], both within 2^53. */
export function integer(min: number, max: number): Shape<number> {
  return (value, at) => {
    const isInteger = typeof value === "bigint" || (typeof value === "number" && Number.isInteger(value));
    if (!isInteger) return refuse(value, at, "not an integer");
    return value >= min && value <= max ? Number(value) : refuse(value, at, `not in ${min}..${max}`);
  };
}

function bigInteger(min: bigint, max: bigint): Shape<bigint> {
  return (value, at) => {
    if (typeof value === "number" && Number.isSafeInteger(value))
      return bigInteger(min, max)(BigInt(value), at);
    if (typeof value !== "bigint") return refuse(value, at, "not an integer");
    return value >= min && value <= max ? value : refuse(value, at, `not in ${min}..${max}`);
  };
}

export const uint32 = integer(0, 0xffffffff);
export const int32 = integer(-0x80000000, 0x7fffffff);
export const int64 = bigInteger(-(2n ** 63n), 2n ** 63n - 1n);
export const uint64 = bigInteger(0n, 2n ** 64n - 1n);

export function oneOf<const T extends string>(...values: T[]): Shape<T> {
  return (value, at) => {
    const found = values.find((candidate) => candidate === value);
    return found ?? refuse(value, at, `not one of ${values.join(", ")}`);
  };
}

export function listOf<T>(item: Shape<T>): Shape<T[]> {
  return (value, at, unknown) => {
    if (!Array.isArray(value)) return refuse(value, at, "not an array");
    return value.map((entry, index) => item(entry, `${at}[${index}]`, unknown));
  };
}

export function mapOf<T>(item: Shape<T>): Shape<Record<string, T>> {
  return (value, at, unknown) => {
    const result: [string, T][] = [];
    for (const [key, entry] of Object.entries(asObject(value, at)))
      result.push([string(key, `${at} key`), item(entry, `${at}[${JSON.stringify(key)}]`, unknown)]);
    return Object.fromEntries(result);
  };
}

/**
 * An object with the given fields. `null` is the same as missing, as the field's Go programs write it. A property
 * that is not named here is left out and noted: "MAY log unknown properties but MUST otherwise ignore them"
 * (runtime-spec config.md#extensibility).
 */
export function object<T>(fields: Fields<T>): Shape<T> {
  const entries = Object.entries(fields) as [string, Field<unknown>][];
  const path = (at: string, name: string): string => (at === "" ? name : `${at}.${name}`);
  return (value, at, unknown) => {
    const source = asObject(value, at);
    const result: Record<string, unknown> = {};
    for (const [name, field] of entries) {
      const given = Object.hasOwn(source, name) ? source[name] : undefined;
      if (given !== undefined && given !== null) result[name] = field.shape(given, path(at, name), unknown);
      else if (field.required) throw invalidArgument(`${path(at, name)} is missing`);
    }
    unknown?.push(
      ...Object.keys(source)
        .filter((name) => !Object.hasOwn(fields, name))
        .map((name) => path(at, name)),
    );
    return result as T;
  };
}

function asObject(value: unknown, at: string): Record<string, unknown> {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject
    ? (value as Record<string, unknown>)
    : refuse(value, at === "" ? "the document" : at, "not an object");
}

// A JSON string, or an integer too long to be exact as a number.
const stringOrLongInteger = /"[^"\\]*(?:\\[^][^"\\]*)*"|(?<![\d.eE+-])-?\d{16,}(?![\d.eE])/g;
const marker = "\u0000integer:";

/**
 * JSON.parse in which integers of 16 digits and more become bigints instead of losing their last digits.
 * @throws CricketError invalid-argument naming `what`
 */
export function parseExactIntegers(text: string, what: string): unknown {
  const marked = text.replace(stringOrLongInteger, (match) =>
    match.startsWith('"') ? match : JSON.stringify(marker + match),
  );
  try {
    return JSON.parse(marked, (_key, value: unknown) =>
      typeof value === "string" && value.startsWith(marker) ? toBigInt(value.slice(marker.length)) : value,
    );
  } catch (error) {
    throw invalidArgument(`${what} is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

// A document may carry the marker in a string of its own: that is no integer and stays what it is.
function toBigInt(digits: string): unknown {
  return /^-?\d{1,40}$/.test(digits) ? BigInt(digits) : marker + digits;
}

/** JSON.stringify in which bigints are plain numbers. */
export function stringifyExactIntegers(value: unknown, indent?: number): string {
  const text = JSON.stringify(
    value,
    (_key, entry: unknown) => (typeof entry === "bigint" ? `${marker}${entry}` : entry),
    indent,
  );
  return text.replace(/"\\u0000integer:(-?\d+)"/g, "$1");
}

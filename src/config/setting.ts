// One setting: its default, how a TOML value becomes it, and what is wrong with a value that does not.
import { isAbsolute, normalize } from "node:path";
import { isIPv4, isIPv6 } from "node:net";
import type { DefaultRlimit } from "./config.ts";

/** Thrown by `parse` with the rest of a sentence that begins with the key: "is 7: not a string". */
export class BadValue extends Error {}

export interface Setting<T> {
  readonly fallback: T;
  /** `value` is what smol-toml gives: string, bigint, number, boolean, array, table or date. Throws BadValue. */
  parse(value: unknown): T;
  /** The inverse, in TOML's notation. */
  format(value: T): string;
}

const show = (value: unknown): string =>
  typeof value === "bigint" ? value.toString() : (JSON.stringify(value, bigintToString) ?? String(value));

function bigintToString(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}

function bad(value: unknown, expected: string): BadValue {
  return new BadValue(`is ${show(value)}: ${expected}`);
}

function stringOf(value: unknown): string {
  if (typeof value !== "string") throw bad(value, "not a string");
  // A NUL would cut the string short in every syscall that gets it.
  if (value.includes("\0")) throw bad(value, "holds a NUL character");
  return value;
}

function textSetting(fallback: string, parse: (value: unknown) => string): Setting<string> {
  return { fallback, parse, format: (value) => JSON.stringify(value) };
}

/** Any string that `pattern` matches; `expected` says in words what that is. */
export function matching(fallback: string, pattern: RegExp, expected: string): Setting<string> {
  return textSetting(fallback, (value) => {
    const text = stringOf(value);
    if (!pattern.test(text)) throw bad(text, expected);
    return text;
  });
}

function absolutePath(text: string): string {
  if (!isAbsolute(text)) throw bad(text, "not an absolute path");
  if (text.split("/").includes("..")) throw bad(text, "holds ..");
  const path = normalize(text);
  return path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
}

/** An absolute path without `..`, stored without a trailing slash. */
export function path(fallback: string): Setting<string> {
  return textSetting(fallback, (value) => absolutePath(stringOf(value)));
}

/** As `path`, or "" for none. */
export function optionalPath(fallback = ""): Setting<string> {
  return textSetting(fallback, (value) => {
    const text = stringOf(value);
    return text === "" ? "" : absolutePath(text);
  });
}

/** true or false. */
export function flag(fallback: boolean): Setting<boolean> {
  return {
    fallback,
    parse(value) {
      if (typeof value !== "boolean") throw bad(value, "not true or false");
      return value;
    },
    format: String,
  };
}

/** One of a few words. */
export function oneOf<T extends string>(fallback: T, words: readonly T[]): Setting<T> {
  return {
    fallback,
    parse(value) {
      const word = words.find((known) => known === value);
      if (word === undefined) throw bad(value, `not one of ${words.join(", ")}`);
      return word;
    },
    format: (value) => JSON.stringify(value),
  };
}

/** A whole number in a range; the range ends at 2^53 - 1. */
export function integer(
  fallback: number,
  minimum: number,
  maximum = Number.MAX_SAFE_INTEGER,
): Setting<number> {
  return {
    fallback,
    parse(value) {
      if (typeof value !== "bigint") throw bad(value, "not a whole number");
      if (value < BigInt(minimum) || value > BigInt(maximum))
        throw bad(value, `not in ${minimum}..${maximum}`);
      return Number(value);
    },
    format: String,
  };
}

/** A list; a bad element is named by its place. */
export function list<T>(
  fallback: T[],
  parseElement: (value: unknown) => T,
  formatElement: (value: T) => string,
): Setting<T[]> {
  return {
    fallback,
    parse(value) {
      if (!Array.isArray(value)) throw bad(value, "not a list");
      return value.map((element: unknown, index) => {
        try {
          return parseElement(element);
        } catch (error) {
          if (error instanceof BadValue) throw new BadValue(`[${index}] ${error.message}`);
          throw error;
        }
      });
    },
    format: (value) => `[${value.map(formatElement).join(", ")}]`,
  };
}

/** A list of strings that `pattern` matches. */
export function stringsMatching(fallback: string[], pattern: RegExp, expected: string): Setting<string[]> {
  const element = matching("", pattern, expected);
  return list(
    fallback,
    (value) => element.parse(value),
    (text) => element.format(text),
  );
}

/** A list of some of a few words, each at most once. */
export function someOf<T extends string>(words: readonly T[]): Setting<T[]> {
  const element = oneOf(words[0] as T, words);
  const setting = list([...words], (value) => element.parse(value), JSON.stringify);
  return {
    ...setting,
    parse(value) {
      const chosen = setting.parse(value);
      if (new Set(chosen).size < chosen.length) throw bad(value, "the same word twice");
      return chosen;
    },
  };
}

export function paths(fallback: string[]): Setting<string[]> {
  return list(fallback, (value) => absolutePath(stringOf(value)), JSON.stringify);
}

/** An IPv4 or IPv6 address without a zone. */
export function ipAddress(fallback: string): Setting<string> {
  return textSetting(fallback, (value) => {
    const text = stringOf(value);
    if (!isIPv4(text) && (!isIPv6(text) || text.includes("%"))) throw bad(text, "not an IP address");
    return text;
  });
}

/** A subnet in CIDR form that has room for a gateway and pods; `family` 6 also takes "" for none. */
export function subnet(fallback: string, family: 4 | 6): Setting<string> {
  return textSetting(fallback, (value) => {
    const text = stringOf(value);
    if (text === "" && family === 6) return "";
    const [, address = "", length = ""] = /^([^/%]+)\/(\d{1,3})$/.exec(text) ?? [];
    if (!(family === 4 ? isIPv4(address) : isIPv6(address))) throw bad(text, `not an IPv${family} CIDR`);
    const longest = family === 4 ? 29 : 125;
    if (Number(length) < 8 || Number(length) > longest)
      throw bad(text, `the prefix length is not in 8..${longest}`);
    return text;
  });
}

const rlimitPattern = /^(?:RLIMIT_)?([a-z]+)=(unlimited|-1|\d{1,19})(?::(unlimited|-1|\d{1,19}))?$/i;
const rlimitNames = new Set(
  "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split(
    " ",
  ),
);

function parseRlimit(value: unknown): DefaultRlimit {
  const match = rlimitPattern.exec(stringOf(value));
  const name = match?.[1]?.toLowerCase() ?? "";
  if (!rlimitNames.has(name)) throw bad(value, 'not of the form "nofile=SOFT:HARD"');
  const soft = limitOf(match?.[2] ?? "");
  const hard = match?.[3] === undefined ? soft : limitOf(match[3]);
  if (hard !== -1n && (soft === -1n || soft > hard)) throw bad(value, "the soft limit is above the hard one");
  return { name, soft, hard };
}

const limitOf = (text: string): bigint => (text.toLowerCase() === "unlimited" ? -1n : BigInt(text));

/** Lines of the form "nofile=1024:4096" or "core=unlimited". */
export function rlimits(fallback: DefaultRlimit[]): Setting<DefaultRlimit[]> {
  return list(fallback, parseRlimit, ({ name, soft, hard }) => JSON.stringify(`${name}=${soft}:${hard}`));
}

// Block devices by paths with wildcards, such as /dev/disk/by-id/*SSD*.
import { readdirSync, realpathSync, statSync } from "node:fs";
import { join } from "node:path";
import { errnoOf } from "../../base/errors.ts";
import { deviceNumbers } from "../../container/resolve-devices.ts";
import type { DeviceNumber } from "../../linux/cgroup/cgroup-resources.ts";

/** Those that are there now, links followed, each once; what is no block device is left out. */
export function findBlockDevices(patterns: readonly string[]): DeviceNumber[] {
  const found = new Map<string, DeviceNumber>();
  for (const path of patterns.flatMap((pattern) => expand(pattern))) {
    try {
      const real = realpathSync(path);
      const stats = statSync(real);
      if (stats.isBlockDevice()) found.set(real, deviceNumbers(stats.rdev));
    } catch (error) {
      // Gone since the directory was read, or a link to nowhere.
      if (errnoOf(error) === undefined) throw error;
    }
  }
  return [...found.values()];
}

function expand(pattern: string): string[] {
  let paths = ["/"];
  for (const part of pattern.split("/").filter((name) => name !== ""))
    paths = paths.flatMap((path) => namesIn(path, part).map((name) => join(path, name)));
  return paths;
}

function namesIn(directory: string, part: string): string[] {
  if (!/[*?[\\]/.test(part)) return [part];
  const expression = wildcard(part);
  try {
    return readdirSync(directory)
      .filter((name) => expression.test(name))
      .toSorted();
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return [];
  }
}

/**
 * Whether a pattern is one: path.Match of Go has "*", "?", "[a-z]", "[^a-z]" and "\\" before what is meant as it is.
 */
export function isDevicePattern(pattern: string): boolean {
  const brackets = /^(?:[^\\[]|\\.|\[\^?(?:\\.|[^\\\]])+\])*$/;
  const parts = pattern.split("/");
  if (!pattern.startsWith("/") || parts.includes("..") || !brackets.test(pattern)) return false;
  try {
    for (const part of parts) wildcard(part);
    return true;
  } catch {
    // A range that goes backwards.
    return false;
  }
}

function wildcard(part: string): RegExp {
  const source = part.replaceAll(/\\(.)|\[(\^?)((?:\\.|[^\\\]])+)\]|[\s\S]/g, (token, escaped, not, set) => {
    if (escaped !== undefined) return literal(String(escaped));
    if (set !== undefined) return `[${String(not)}${characters(String(set))}]`;
    if (token === "*") return ".*";
    return token === "?" ? "." : literal(token);
  });
  return new RegExp(`^${source}$`, "s");
}

/** What is between brackets: "-" makes ranges there, too. */
function characters(set: string): string {
  return set.replaceAll(/\\(.)|[^-]/gs, (token, escaped) => literal(String(escaped ?? token)));
}

function literal(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
}

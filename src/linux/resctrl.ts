// The resctrl file system: groups of processes that share a part of the caches and of the memory bandwidth
// (Documentation/filesystems/resctrl.rst). A group is a directory; `schemata`, `tasks` and `mon_groups` are in it.
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, wrapError } from "../base/errors.ts";
import { readMountinfo } from "./mountinfo.ts";

/** Where resctrl is mounted; undefined where it is not. */
export function findResctrl(): string | undefined {
  return readMountinfo("self").find(({ filesystemType }) => filesystemType === "resctrl")?.mountPoint;
}

/** Makes a directory; false where it is there already. */
export function makeGroup(path: string): boolean {
  try {
    mkdirSync(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return false;
    // ENOSPC: the hardware has no more classes, EINVAL: it has none.
    throw wrapError(`make the resctrl group ${path}`, error);
  }
}

export function groupExists(path: string): boolean {
  return existsSync(join(path, "tasks"));
}

/** One line at a time, as the kernel takes no two of one resource. */
export function writeSchemata(group: string, lines: readonly string[]): void {
  for (const line of lines) writeFile(join(group, "schemata"), `${line}\n`);
}

/** Resource ("L3") -> values by cache id, as text without leading zeros: the kernel pads its own. */
export function readSchemata(group: string): Map<string, Map<string, string>> {
  return parseSchemata(readFileSync(join(group, "schemata"), "utf8").split("\n"));
}

export function parseSchemata(lines: readonly string[]): Map<string, Map<string, string>> {
  const resources = new Map<string, Map<string, string>>();
  for (const line of lines) {
    const [name = "", list] = line.trim().split(":", 2);
    if (list === undefined) continue;
    const values = list.split(";").map((part): [string, string] => {
      const [id = "", value = ""] = part.trim().split("=", 2);
      return [id, value.trim().replace(/^0+(?=.)/, "")];
    });
    resources.set(name, new Map([...(resources.get(name) ?? []), ...values]));
  }
  return resources;
}

/** Removes a group; its processes fall back into the one above. */
export function removeGroup(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw wrapError(`remove the resctrl group ${path}`, error);
  }
}

function writeFile(path: string, content: string): void {
  try {
    writeFileSync(path, content, { flag: "r+" });
  } catch (error) {
    throw wrapError(`write ${JSON.stringify(content.trim())} to ${path}`, error);
  }
}

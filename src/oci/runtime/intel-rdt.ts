// linux.intelRdt: the container's class of service (config-linux.md#intelrdt).
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { CleanupStack } from "../../base/cleanup-stack.ts";
import { failedPrecondition } from "../../base/errors.ts";
import {
  findResctrl,
  groupExists,
  makeGroup,
  parseSchemata,
  readSchemata,
  removeGroup,
  writeSchemata,
} from "../../linux/resctrl.ts";
import type { IntelRdt } from "../linux-spec.ts";

interface Groups {
  /** The class of service. */
  group: string;
  /** Where the container alone is counted. */
  monitored: string | undefined;
  /** The class is the container's own. */
  isOwn: boolean;
}

/** Derived from the id, so that a delete finds what a create that was killed has left. */
function groupsOf(id: string, { closID = "", enableMonitoring }: IntelRdt, root: string): Groups {
  const group = closID === "/" ? root : join(root, closID === "" ? id : closID);
  const monitored = enableMonitoring === true ? join(group, "mon_groups", id) : undefined;
  return { group, monitored, isOwn: closID === "" };
}

/**
 * Makes or finds the container's groups; the result are their `tasks`, in the order in which a process enters them.
 * @throws CricketError that names the property
 */
export function prepareIntelRdt(
  id: string,
  rdt: IntelRdt,
  undo: CleanupStack,
  root = findResctrl(),
): string[] {
  if (root === undefined)
    throw failedPrecondition("linux.intelRdt is set, but no resctrl file system is mounted on this host");
  const groups = groupsOf(id, rdt, root);
  const { group, monitored, isOwn } = groups;
  const make = (path: string): boolean => {
    const made = makeGroup(path);
    if (made) undo.defer(`remove the resctrl group ${path}`, () => removeGroup(path));
    return made;
  };
  const lines = schemataOf(rdt);
  if (isOwn) {
    if (!make(group)) throw failedPrecondition(`linux.intelRdt: there is a resctrl group ${group} already`);
    writeSchemata(group, lines);
  } else enterClass(group, lines, make);
  if (monitored !== undefined && !make(monitored))
    throw failedPrecondition(`linux.intelRdt.enableMonitoring: there is a group ${monitored} already`);
  return tasksOf(groups);
}

/** For one more process; those of groups that are gone meanwhile are left out, as an exec can do without them. */
export function intelRdtTasks(id: string, rdt: IntelRdt | undefined, root?: string): string[] {
  const groups = rdt && groupsIn(root, id, rdt);
  return groups === undefined ? [] : tasksOf(groups).filter((path) => existsSync(path));
}

// Only for who has a class: to find resctrl takes the longer the more mounts the host has.
function groupsIn(root: string | undefined, id: string, rdt: IntelRdt): Groups | undefined {
  const found = root ?? findResctrl();
  return found === undefined ? undefined : groupsOf(id, rdt, found);
}

// The kernel takes a process into a monitoring group only from the class above it.
function tasksOf({ group, monitored }: Groups): string[] {
  return [group, ...(monitored === undefined ? [] : [monitored])].map((path) => join(path, "tasks"));
}

function enterClass(group: string, lines: readonly string[], make: (path: string) => boolean): void {
  if (lines.length === 0) {
    if (!groupExists(group)) throw failedPrecondition(`linux.intelRdt.closID: there is no group ${group}`);
  } else if (make(group)) writeSchemata(group, lines);
  else assertSame(group, lines);
}

/** In the order that the spec asks for. */
function schemataOf({ l3CacheSchema = "", memBwSchema = "", schemata = [] }: IntelRdt): string[] {
  return [l3CacheSchema, memBwSchema, ...schemata].filter((line) => line !== "");
}

/** "if closID directory exists, runtimes MUST compare ... and generate an error if doesn't match". */
function assertSame(group: string, lines: readonly string[]): void {
  const found = readSchemata(group);
  for (const [resource, values] of parseSchemata(lines))
    for (const [cache, value] of values)
      if (found.get(resource)?.get(cache) !== value)
        throw failedPrecondition(
          `linux.intelRdt: the resctrl group ${group} has other schemata for ${resource}:${cache}`,
        );
}

/** Other schemata for a running container: of its class, and so of everybody in it. */
export function updateIntelRdt(id: string, rdt: IntelRdt, changes: IntelRdt, root = findResctrl()): void {
  if (root === undefined) throw failedPrecondition("no resctrl file system is mounted on this host");
  writeSchemata(groupsOf(id, rdt, root).group, schemataOf(changes));
}

/** What goes with the container: a class that others may be in stays. */
export function removeIntelRdt(id: string, rdt: IntelRdt | undefined, root?: string): void {
  const groups = rdt && groupsIn(root, id, rdt);
  if (groups === undefined) return;
  const { group, monitored, isOwn } = groups;
  if (monitored !== undefined) removeGroup(monitored);
  if (isOwn) removeGroup(group);
}

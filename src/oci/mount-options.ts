// The options of a mount in config.json (config.md#linux-mount-options): mount attributes, propagation, and what
// is left for the filesystem itself.
import { invalidArgument } from "../base/errors.ts";
import type { FsOptionValue } from "../linux/launch-program.ts";
import {
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MS_PRIVATE,
  MS_REC,
  MS_SHARED,
  MS_SLAVE,
} from "../linux/mount.ts";
import type { RootfsPropagation } from "./linux-spec.ts";

// linux/mount.h. The three access time modes are one field of the attributes; relatime is its value 0.
const MOUNT_ATTR_NOATIME = 0x10;
const MOUNT_ATTR_STRICTATIME = 0x20;
const MOUNT_ATTR__ATIME = 0x70;
const MOUNT_ATTR_NODIRATIME = 0x80;
const MOUNT_ATTR_NOSYMFOLLOW = 0x200000;
const MS_UNBINDABLE = 1 << 17;

export interface Attributes {
  /** MOUNT_ATTR_ bits. */
  set: number;
  clear: number;
}

export interface MountOptions {
  /** "rbind" takes the mounts below the source along. */
  bind: "none" | "bind" | "rbind";
  /** Of the mount itself. */
  attributes: Attributes;
  /** Of the mount and of all below it: "rro" and its relatives. */
  recursive: Attributes;
  /** MS_SHARED and the like, with MS_REC; 0: as it comes. */
  propagation: number;
  /** Ids are mapped; "ridmap" those of the mounts below, too. */
  idmap: "none" | "idmap" | "ridmap";
  /** A new tmpfs begins with what it covers. */
  tmpcopyup: boolean;
  /** Changes the attributes of what is mounted there already. */
  remount: boolean;
  /** For the filesystem: fsconfig(2) flags and strings. */
  data: [string, FsOptionValue][];
}

const attribute = (set: number, clear = 0): Attributes => ({ set, clear });

// mount_setattr(2) takes a new access time mode only together with the clearing of the old one.
const attributes: ReadonlyMap<string, Attributes> = new Map([
  ["ro", attribute(MOUNT_ATTR_RDONLY)],
  ["rw", attribute(0, MOUNT_ATTR_RDONLY)],
  ["nosuid", attribute(MOUNT_ATTR_NOSUID)],
  ["suid", attribute(0, MOUNT_ATTR_NOSUID)],
  ["nodev", attribute(MOUNT_ATTR_NODEV)],
  ["dev", attribute(0, MOUNT_ATTR_NODEV)],
  ["noexec", attribute(MOUNT_ATTR_NOEXEC)],
  ["exec", attribute(0, MOUNT_ATTR_NOEXEC)],
  ["nosymfollow", attribute(MOUNT_ATTR_NOSYMFOLLOW)],
  ["symfollow", attribute(0, MOUNT_ATTR_NOSYMFOLLOW)],
  ["nodiratime", attribute(MOUNT_ATTR_NODIRATIME)],
  ["diratime", attribute(0, MOUNT_ATTR_NODIRATIME)],
  ["relatime", attribute(0, MOUNT_ATTR__ATIME)],
  ["atime", attribute(0, MOUNT_ATTR__ATIME)],
  ["nostrictatime", attribute(0, MOUNT_ATTR__ATIME)],
  ["noatime", attribute(MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME)],
  ["strictatime", attribute(MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME)],
  ["norelatime", attribute(MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME)],
]);

const propagations: ReadonlyMap<string, number> = new Map([
  ["private", MS_PRIVATE],
  ["slave", MS_SLAVE],
  ["shared", MS_SHARED],
  ["unbindable", MS_UNBINDABLE],
  ["rprivate", MS_PRIVATE | MS_REC],
  ["rslave", MS_SLAVE | MS_REC],
  ["rshared", MS_SHARED | MS_REC],
  ["runbindable", MS_UNBINDABLE | MS_REC],
]);

// Said for mount(2) only: the descriptor API has no such flag, and nothing would change.
const without = new Set(["defaults", "silent", "loud"]);

/** Options that say what is done, not with which attribute. */
const kinds: ReadonlyMap<string, (result: MountOptions) => void> = new Map([
  ["bind", (result) => void (result.bind = "bind")],
  ["rbind", (result) => void (result.bind = "rbind")],
  ["idmap", (result) => void (result.idmap = "idmap")],
  ["ridmap", (result) => void (result.idmap = "ridmap")],
  ["tmpcopyup", (result) => void (result.tmpcopyup = true)],
  ["remount", (result) => void (result.remount = true)],
]);

/**
 * Sorts the options of one mount. Among contradicting options the last one wins, as with mount(8).
 * @param at the property, for errors: `mounts[3].options`
 * @throws CricketError invalid-argument for what is no option
 */
export function parseMountOptions(options: readonly string[], at: string): MountOptions {
  const result: MountOptions = {
    bind: "none",
    attributes: { set: 0, clear: 0 },
    recursive: { set: 0, clear: 0 },
    propagation: 0,
    idmap: "none",
    tmpcopyup: false,
    remount: false,
    data: [],
  };
  for (const option of options) apply(result, option, at);
  return result;
}

function apply(result: MountOptions, option: string, at: string): void {
  if (without.has(option)) return;
  const kind = kinds.get(option);
  if (kind !== undefined) return kind(result);
  const propagation = propagations.get(option);
  if (propagation !== undefined) {
    result.propagation = propagation;
    return;
  }
  const plain = attributes.get(option);
  if (plain !== undefined) return merge(result.attributes, plain);
  const recursive = option.startsWith("r") ? attributes.get(option.slice(1)) : undefined;
  if (recursive !== undefined) return merge(result.recursive, recursive);
  result.data.push(fsOption(option, at));
}

function merge(into: Attributes, next: Attributes): void {
  into.set = (into.set & ~next.clear) | next.set;
  into.clear |= next.clear;
}

function fsOption(option: string, at: string): [string, FsOptionValue] {
  const equals = option.indexOf("=");
  if (equals === -1 && option !== "") return [option, true];
  if (equals > 0) return [option.slice(0, equals), option.slice(equals + 1)];
  throw invalidArgument(`${at} has ${JSON.stringify(option)}: not an option`);
}

/** Every option with a meaning of its own, for `features`. */
export function mountOptionNames(): string[] {
  const names = [...attributes.keys()];
  return [
    ...kinds.keys(),
    ...without,
    ...names,
    ...names.map((name) => `r${name}`),
    ...propagations.keys(),
  ].sort();
}

/** MS_ flags of linux.rootfsPropagation. */
export function propagationFlags(propagation: RootfsPropagation): number {
  return propagations.get(propagation) ?? 0;
}

// /proc/<pid>/mountinfo, see proc_pid_mountinfo(5).
import { readFileSync } from "node:fs";
import { wrapError } from "../base/errors.ts";

export interface MountEntry {
  mountId: number;
  parentId: number;
  /** "major:minor". */
  device: string;
  /** The directory of the filesystem that is the root of this mount; for nsfs "net:[4026531840]". */
  root: string;
  mountPoint: string;
  /** Per-mount options: "rw", "nosuid"... */
  options: string[];
  /** Peer group of a shared mount. */
  sharedGroup?: number;
  /** Peer group that this mount receives from. */
  masterGroup?: number;
  /** The nearest dominant peer group under the process's root. */
  propagateFromGroup?: number;
  unbindable: boolean;
  filesystemType: string;
  source: string;
  /** Per-superblock options. */
  superOptions: string[];
}

/** The mounts of a process's mount namespace, in the kernel's order. Throws when the process is gone. */
export function readMountinfo(pid: number | "self" = "self"): MountEntry[] {
  const file = `/proc/${pid}/mountinfo`;
  try {
    return parseMountinfo(readFileSync(file, "latin1"));
  } catch (error) {
    throw wrapError(`read ${file}`, error);
  }
}

/**
 * Parses mountinfo. `text` has one character a byte (latin1), because paths need not be UTF-8; those that are come
 * out decoded. Lines the kernel would not write are left out.
 */
export function parseMountinfo(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split("\n")) {
    const entry = parseLine(line);
    if (entry !== undefined) entries.push(entry);
  }
  return entries;
}

function parseLine(line: string): MountEntry | undefined {
  const fields = line.split(" ");
  // Between the sixth field and "-" there are zero or more optional fields.
  const separator = fields.indexOf("-", 6);
  if (separator === -1 || fields.length < separator + 4) return undefined;
  const field = (index: number): string => fields[index] ?? "";
  const entry: MountEntry = {
    mountId: Number(field(0)),
    parentId: Number(field(1)),
    device: field(2),
    root: unescape(field(3)),
    mountPoint: unescape(field(4)),
    options: field(5).split(","),
    unbindable: false,
    filesystemType: unescape(field(separator + 1)),
    source: unescape(field(separator + 2)),
    superOptions: field(separator + 3)
      .split(",")
      .map(unescape),
  };
  for (const optional of fields.slice(6, separator)) applyOptional(entry, optional);
  return entry;
}

function applyOptional(entry: MountEntry, field: string): void {
  const [tag = "", group = ""] = field.split(":");
  if (tag === "shared") entry.sharedGroup = Number(group);
  else if (tag === "master") entry.masterGroup = Number(group);
  else if (tag === "propagate_from") entry.propagateFromGroup = Number(group);
  else if (tag === "unbindable") entry.unbindable = true;
}

// The kernel writes space, tab, newline, backslash and # as three octal digits.
function unescape(field: string): string {
  const plain = field.replace(/\\([0-3][0-7]{2})/g, (_match, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
  return /[\x80-\xff]/.test(plain) ? Buffer.from(plain, "latin1").toString("utf8") : plain;
}

/** The mount that a path lies on: the last one mounted at the longest mount point above it. `path` has no links in it. */
export function findMount(mounts: readonly MountEntry[], path: string): MountEntry | undefined {
  let found: MountEntry | undefined;
  for (const mount of mounts) {
    const { mountPoint } = mount;
    const isAbove = mountPoint === "/" || path === mountPoint || path.startsWith(`${mountPoint}/`);
    if (isAbove && mountPoint.length >= (found?.mountPoint.length ?? 0)) found = mount;
  }
  return found;
}

// One tar header block plus the extension headers before it -> one entry.
import { decode } from "tar-stream/headers.js";
import type { Timespec } from "../linux/files.ts";
import { messageOf } from "../base/errors.ts";
import { parseDecimal, parsePaxTime, type PaxRecord } from "./pax-records.ts";
import { badArchive, printableName, type TarEntry, type TarEntryType } from "./tar-entry.ts";

/** A header block by itself, its numbers checked. Names are byte strings. */
export interface TarHeader {
  /** The type flag as a character; "\0" is the old form of "0". */
  typeFlag: string;
  name: string;
  linkName: string;
  mode: number;
  uid: number;
  gid: number;
  sizeBytes: number;
  modifiedAt: Timespec;
  deviceMajor: number;
  deviceMinor: number;
}

/** What extension headers have said about the next entry. */
export interface TarExtensions {
  pax: PaxRecord[];
  gnuLongName?: string;
  gnuLongLinkName?: string;
}

const entryTypes: Partial<Record<string, TarEntryType>> = {
  "\0": "file",
  "0": "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "character-device",
  "4": "block-device",
  "5": "directory",
  "6": "fifo",
  // Contiguous: a plain file wherever the filesystem has no such thing.
  "7": "file",
  // Old GNU sparse.
  S: "file",
};

/** Decodes 512 bytes; undefined for a block of zeros. Throws for a wrong checksum or number. */
export function decodeTarHeader(block: Buffer): TarHeader | undefined {
  let decoded;
  try {
    decoded = decode(block, "latin1", true);
  } catch (error) {
    throw badArchive(`not a tar header: ${messageOf(error)}`);
  }
  if (decoded === null) return undefined;
  const field = (value: number | null, what: string): number => {
    if (value === null || !Number.isSafeInteger(value) || value < 0)
      throw badArchive(`entry ${printableName(decoded.name)}: bad ${what}`);
    return value;
  };
  return {
    typeFlag: String.fromCharCode(block[156] ?? 0),
    name: decoded.name,
    linkName: decoded.linkname ?? "",
    mode: field(decoded.mode, "mode") & 0o7777,
    uid: field(decoded.uid, "uid"),
    gid: field(decoded.gid, "gid"),
    sizeBytes: field(decoded.size, "size"),
    modifiedAt: timespecOf(decoded.mtime, decoded.name),
    deviceMajor: field(decoded.devmajor, "device number"),
    deviceMinor: field(decoded.devminor, "device number"),
  };
}

function timespecOf(date: Date, name: string): Timespec {
  const ms = date.getTime();
  if (Number.isNaN(ms)) throw badArchive(`entry ${printableName(name)}: bad mtime`);
  return { seconds: BigInt(Math.floor(ms / 1000)), nanoseconds: 0 };
}

const xattrPrefix = "SCHILY.xattr.";

/** The entry a header and the extensions before it describe. Throws for types that no layer may contain. */
export function resolveTarEntry(header: TarHeader, extensions: TarExtensions): TarEntry {
  const type = entryTypes[header.typeFlag];
  const xattrs = new Map<string, Buffer>();
  const entry: TarEntry = {
    type: type ?? "file",
    name: extensions.gnuLongName ?? header.name,
    linkName: extensions.gnuLongLinkName ?? header.linkName,
    mode: header.mode,
    uid: header.uid,
    gid: header.gid,
    modifiedAt: header.modifiedAt,
    deviceMajor: header.deviceMajor,
    deviceMinor: header.deviceMinor,
    dataBytes: header.sizeBytes,
    xattrs,
  };
  for (const [key, value] of extensions.pax) {
    if (key.startsWith(xattrPrefix)) xattrs.set(key.slice(xattrPrefix.length), value);
    else applyPaxRecord(entry, key, value);
  }
  if (type === undefined) {
    const flag = JSON.stringify(header.typeFlag);
    throw badArchive(`entry ${printableName(entry.name)}: unknown type ${flag}`);
  }
  // Before ustar a directory was a file whose name ends in a slash.
  if (entry.type === "file" && entry.name.endsWith("/")) entry.type = "directory";
  // Whatever its size field says, no data follows the header of anything but a file: as GNU tar and Go read it, so
  // that no two readers disagree on where the next header is.
  if (type !== "file") entry.dataBytes = 0;
  checkEntry(entry);
  return entry;
}

// An empty value means "as if there were no record" (POSIX pax).
function applyPaxRecord(entry: TarEntry, key: string, value: Buffer): void {
  if (value.length === 0) return;
  const text = (): string => value.toString("latin1");
  switch (key) {
    case "path":
      entry.name = text();
      break;
    case "linkpath":
      entry.linkName = text();
      break;
    case "size":
      entry.dataBytes = parseDecimal(text(), "pax size");
      break;
    case "uid":
      entry.uid = parseDecimal(text(), "pax uid");
      break;
    case "gid":
      entry.gid = parseDecimal(text(), "pax gid");
      break;
    case "mtime":
      entry.modifiedAt = parsePaxTime(text());
      break;
    default:
      break;
  }
}

// chown(2) takes 2^32 - 1 as "leave it", which would hand the file to root.
const maxOwnerId = 0xfffffffe;

function checkEntry(entry: TarEntry): void {
  const name = printableName(entry.name);
  if (entry.name.includes("\0") || entry.linkName.includes("\0"))
    throw badArchive(`entry ${name}: NUL in a name`);
  if (entry.uid > maxOwnerId || entry.gid > maxOwnerId) throw badArchive(`entry ${name}: owner out of range`);
  if (entry.deviceMajor > 0xffffffff || entry.deviceMinor > 0xffffffff)
    throw badArchive(`entry ${name}: device number out of range`);
}

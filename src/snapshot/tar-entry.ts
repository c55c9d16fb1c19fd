// What a tar archive says about one entry, after all its extension headers have been applied.
import { CricketError } from "../base/errors.ts";
import type { Timespec } from "../linux/files.ts";

export type TarEntryType =
  "file" | "hardlink" | "symlink" | "character-device" | "block-device" | "directory" | "fifo";

export interface TarEntry {
  type: TarEntryType;
  /** As a byte string: one character (0 to 255) a byte, because a name need not be UTF-8. */
  name: string;
  /** The target of a symlink or hardlink, as a byte string. */
  linkName: string;
  /** Permission bits with setuid, setgid and sticky. */
  mode: number;
  uid: number;
  gid: number;
  modifiedAt: Timespec;
  deviceMajor: number;
  deviceMinor: number;
  /** Bytes of data in the archive; for a sparse file only what its segments hold. */
  dataBytes: number;
  /** Extended attributes by name, from the pax records SCHILY.xattr.*. */
  xattrs: ReadonlyMap<string, Buffer>;
  sparse?: SparseMap;
}

/** Where a sparse file's data belongs: ordered, without overlap; everything else is a hole. */
export interface SparseMap {
  sizeBytes: number;
  segments: readonly SparseSegment[];
}

export interface SparseSegment {
  offset: number;
  length: number;
}

/** Receives an archive entry by entry. Every `entry` is followed by any number of `data` calls and one `endOfEntry`. */
export interface TarSink {
  entry(entry: TarEntry): void;
  /** The bytes are only valid during the call. */
  data(bytes: Uint8Array): void;
  endOfEntry(): void;
}

/** An archive that is not what the format, or a safe unpacking of it, allows. */
export function badArchive(message: string): CricketError {
  return new CricketError("failed-precondition", message);
}

/** A byte string as it appears in error messages. */
export function printableName(name: string): string {
  return JSON.stringify(Buffer.from(name, "latin1").toString("utf8"));
}

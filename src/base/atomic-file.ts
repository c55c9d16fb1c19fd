// The only writer of records: a reader sees the old content or the new, never a part of it.
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { randomBytes } from "node:crypto";

export interface AtomicWriteOptions {
  /** fsync the file and its directory: for everything under the state root, which must survive a power loss. */
  durable?: boolean;
  mode?: number;
}

/**
 * Writes `content` to a temporary file beside `path` and renames it into place. Without `durable` the data
 * survives the death of the process, not of the machine: right for files on tmpfs.
 */
export function writeFileAtomic(
  path: string,
  content: string | Uint8Array,
  options: AtomicWriteOptions = {},
): void {
  const temporary = `${path}.${randomBytes(6).toString("hex")}${temporarySuffix}`;
  const fd = openSync(temporary, "wx", options.mode ?? 0o600);
  try {
    try {
      const bytes = typeof content === "string" ? Buffer.from(content) : content;
      for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done);
      if (options.durable === true) fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  if (options.durable === true) syncDirectory(dirname(path));
}

/** Files with this suffix are left by a writer that was killed; whoever lists a record directory removes them. */
export const temporarySuffix = ".tmp";

/** Makes renames and unlinks inside `path` survive a power loss. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

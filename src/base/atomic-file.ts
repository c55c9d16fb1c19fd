// The only writer of records: a reader sees the old content or the new, never a part of it.
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

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
  const temporary = temporaryBeside(path);
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

// No two writers meet: the clock runs on through all processes of a boot. (node:crypto would be as good, but takes 5 ms
// to load, and this is all that a verb of `cricket oci` would use of it.)
const temporaryBeside = (path: string): string =>
  `${path}.${process.pid}-${process.hrtime.bigint().toString(36)}${temporarySuffix}`;

/** Makes renames and unlinks inside `path` survive a power loss. */
function syncDirectory(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * writeFileAtomic with `durable`, without blocking the event loop: an fsync takes as long as the disk is busy, and
 * while a large image is being pulled it is.
 */
export async function writeFileDurable(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = temporaryBeside(path);
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  const directory = await open(dirname(path), "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

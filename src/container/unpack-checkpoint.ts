// An archive of a checkpoint, or an image that holds the content of one, as files in a directory of the container's.
// Anybody may have made it: of the names of the layout it must have files and directories alone, all else is left out.
import {
  closeSync,
  constants,
  copyFileSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statfsSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { CricketError, errnoOf, failedPrecondition, invalidArgument, wrapError } from "../base/errors.ts";
import {
  close,
  fdPath,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  openat2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
} from "../linux/files.ts";
import { decompress } from "../snapshot/decompress.ts";
import { readChunks } from "../snapshot/read-chunks.ts";
import type { TarEntry, TarSink } from "../snapshot/tar-entry.ts";
import { TarReader } from "../snapshot/tar-reader.ts";
import {
  layout,
  maxDocumentBytes,
  maxListBytes,
  parseDescription,
  type CheckpointDescription,
} from "./checkpoint-layout.ts";

const chunkBytes = 1 << 20;
const maxEntries = 1_000_000;

/** Of the layout's files; those that are not here are of no use for a restore. */
const wantedFiles: ReadonlySet<string> = new Set([
  layout.config,
  layout.spec,
  layout.rootfsDifference,
  layout.deletedFiles,
  ...layout.logs,
]);

/** Unpacks the archive at `path` into the existing, empty `directory`. @throws CricketError for what is no such archive */
export async function unpackArchive(path: string, directory: string): Promise<CheckpointDescription> {
  const fd = openArchive(path);
  try {
    const { size } = fstatSync(fd);
    assertRoom(directory, size);
    const sink = new CheckpointSink(directory);
    try {
      const reader = new TarReader(sink, maxEntries);
      for await (const chunk of decompress(readChunks(fd, chunkBytes), "none", chunkBytes)) {
        reader.push(chunk);
        await nextTurn();
      }
      reader.finish();
    } finally {
      sink.close();
    }
  } catch (error) {
    throw wrapError(`checkpoint archive ${path}`, error);
  } finally {
    closeSync(fd);
  }
  return describe(directory, `checkpoint archive ${path}`);
}

function openArchive(path: string): number {
  let fd: number;
  try {
    // A fifo must not hold up the call.
    fd = openSync(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  } catch (error) {
    const code = errnoOf(error) === "ENOENT" ? "not-found" : "failed-precondition";
    throw new CricketError(code, `checkpoint archive ${path}: ${errnoOf(error) ?? "cannot be opened"}`);
  }
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  throw invalidArgument(`checkpoint archive ${path}: not a regular file`);
}

function assertRoom(directory: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(directory);
  if (bytes > bavail * bsize) throw new CricketError("resource-exhausted", `no room for its ${bytes} bytes`);
}

class CheckpointSink implements TarSink {
  readonly #directory: string;
  readonly #seen = new Set<string>();
  #fd: number | undefined;
  #roomBytes: number;

  constructor(directory: string) {
    this.#directory = directory;
    const { bavail, bsize } = statfsSync(directory);
    this.#roomBytes = bavail * bsize;
    mkdirSync(join(directory, layout.images), { mode: 0o700 });
  }

  entry(entry: TarEntry): void {
    const name = wantedName(entry.name);
    if (name === undefined) return;
    if (name === layout.images && entry.type === "directory") return;
    if (entry.type !== "file" || entry.sparse !== undefined)
      throw invalidArgument(
        `${name} is a ${entry.sparse === undefined ? entry.type : "sparse file"}, not a plain file`,
      );
    if (this.#seen.has(name)) throw invalidArgument(`${name} is there twice`);
    this.#seen.add(name);
    this.#roomBytes -= entry.dataBytes;
    // Also of what a small compressed archive blows up to.
    if (this.#roomBytes < 0) throw new CricketError("resource-exhausted", `no room for ${name}`);
    assertSize(name, entry.dataBytes);
    this.#fd = openSync(join(this.#directory, name), "wx", 0o600);
  }

  data(bytes: Uint8Array): void {
    if (this.#fd === undefined) return;
    for (let done = 0; done < bytes.length;) done += writeSync(this.#fd, bytes, done);
  }

  endOfEntry(): void {
    this.close();
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

/** Undefined for what a restore has no use for. @throws for a name that leads out, also of such */
function wantedName(name: string): string | undefined {
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw invalidArgument(`entry ${JSON.stringify(name)} leads out of the archive`);
  const [first = "", second, ...deeper] = parts;
  if (second === undefined) return first === layout.images || wantedFiles.has(first) ? first : undefined;
  // criu writes no directories.
  return first === layout.images && deeper.length === 0 ? `${first}/${second}` : undefined;
}

function assertSize(name: string, bytes: number): void {
  const limit =
    name === layout.config || name === layout.spec
      ? maxDocumentBytes
      : name === layout.deletedFiles
        ? maxListBytes
        : Infinity;
  if (bytes > limit) throw invalidArgument(`${name} has ${bytes} bytes, more than ${limit}`);
}

/** The same from a layer of an image, which is unpacked below `layer`. */
export function copyCheckpoint(layer: string, directory: string, image: string): CheckpointDescription {
  const root = openSync(layer, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  try {
    mkdirSync(join(directory, layout.images), { mode: 0o700 });
    for (const name of wantedFiles) copyOne(root, name, directory);
    for (const name of namesIn(root)) copyOne(root, `${layout.images}/${name}`, directory);
  } catch (error) {
    throw wrapError(`checkpoint image ${image}`, error);
  } finally {
    closeSync(root);
  }
  return describe(directory, `checkpoint image ${image}`);
}

const resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;

function namesIn(root: number): string[] {
  const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  const fd = openat2(root, layout.images, { flags, resolve });
  try {
    return readdirSync(fdPath(fd));
  } finally {
    close(fd);
  }
}

function copyOne(root: number, name: string, directory: string): void {
  let fd: number;
  try {
    fd = openat2(root, name, { flags: O_RDONLY | O_NOFOLLOW | O_NONBLOCK, resolve });
  } catch (error) {
    if (errnoOf(error) === "ENOENT" && wantedFiles.has(name)) return;
    throw wrapError(name, error);
  }
  try {
    const status = fstatSync(fd);
    if (!status.isFile()) throw invalidArgument(`${name} is not a plain file`);
    assertSize(name, status.size);
    const mode = constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE;
    copyFileSync(fdPath(fd), join(directory, name), mode);
  } finally {
    close(fd);
  }
}

function describe(directory: string, what: string): CheckpointDescription {
  const read = (name: string): string => {
    try {
      return readFileSync(join(directory, name), "utf8");
    } catch (error) {
      if (errnoOf(error) === "ENOENT") throw failedPrecondition(`${what}: ${name} is missing`);
      throw error;
    }
  };
  try {
    return parseDescription(read(layout.config), read(layout.spec));
  } catch (error) {
    throw error instanceof CricketError && error.message.startsWith(what) ? error : wrapError(what, error);
  }
}

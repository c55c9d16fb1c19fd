// What a container had changed in its root filesystem, applied to the one of another container: an archive of files and
// a list of what was deleted. Neither is trusted: all paths are resolved inside the root.
import { closeSync, openSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { errnoOf } from "../base/errors.ts";
import {
  close,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openat2,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
} from "../linux/files.ts";
import { decompress } from "./decompress.ts";
import { deleteTree } from "./delete-tree.ts";
import { parseEntryName, pathNameOf } from "./entry-path.ts";
import { readChunks } from "./read-chunks.ts";
import { TarReader } from "./tar-reader.ts";
import { LayerUnpacker } from "./unpack-layer.ts";

const chunkBytes = 1 << 20;
const maxEntries = 10_000_000;

/** Unpacks the tar archive at `path`, compressed or not, into the mount whose root `rootFd` (O_RDONLY) is. */
export async function unpackInto(rootFd: number, path: string): Promise<void> {
  const fd = openSync(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  const unpacker = new LayerUnpacker(rootFd, { merges: true });
  try {
    const reader = new TarReader(unpacker, maxEntries);
    for await (const chunk of decompress(readChunks(fd, chunkBytes), "none", chunkBytes)) {
      reader.push(chunk);
      await nextTurn();
    }
    reader.finish();
    unpacker.finish();
  } finally {
    unpacker.close();
    closeSync(fd);
  }
}

/** Deletes what stands at `paths`; what is not there is deleted already. @throws for a path that leads out of the root */
export function deleteFrom(rootFd: number, paths: readonly string[]): void {
  for (const path of paths) {
    const { parent, base } = parseEntryName(Buffer.from(path).toString("latin1"));
    if (base !== "") deleteOne(rootFd, parent, base);
  }
}

function deleteOne(rootFd: number, parent: string, base: string): void {
  let fd: number;
  try {
    const resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    const flags = O_RDONLY | O_DIRECTORY;
    fd = openat2(rootFd, parent === "" ? "." : pathNameOf(parent), { flags, resolve });
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT" || errno === "ENOTDIR" || errno === "ELOOP") return;
    throw error;
  }
  try {
    deleteTree(fd, pathNameOf(base));
  } finally {
    close(fd);
  }
}

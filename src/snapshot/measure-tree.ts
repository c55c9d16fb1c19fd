// Sums up a directory tree as du does: blocks on disk and inodes, a hardlinked file once, without leaving its filesystem.
import {
  AT_FDCWD,
  close,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openat2,
  type PathName,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from "../linux/files.ts";
import { type Dirent, readDirents } from "../linux/directory.ts";
import { S_IFDIR, S_IFMT, statNoFollow } from "../linux/stat.ts";
import { errnoOf } from "../base/errors.ts";
import type { DiskUsage } from "./layer-store.ts";

/** Relative to the root, with the closing NUL. */
type RelativePath = Buffer;

/**
 * Adds everything below and including `root` to `usage`; yields after each entry, so that the caller can pause or stop.
 * The tree may change meanwhile. A missing root adds nothing.
 */
export function* measureTree(root: string, usage: DiskUsage): Generator<void> {
  const rootFd = tryOpen(AT_FDCWD, root, 0);
  if (rootFd === undefined) return;
  const seen = new Set<bigint>();
  // Paths and not descriptors: a tree may be deeper than a process may have files open.
  const pending: RelativePath[] = [Buffer.from(".\0")];
  const buffer = Buffer.allocUnsafe(32 * 1024);
  const resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  try {
    addEntry(rootFd, Buffer.from(".\0"), usage, seen);
    yield;
    for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
      const fd = tryOpen(rootFd, path, resolve);
      if (fd === undefined) continue;
      try {
        for (let entries = readDirents(fd, buffer); entries.length > 0; entries = readDirents(fd, buffer)) {
          for (const entry of entries) {
            if (addEntry(fd, entry.name, usage, seen)) pending.push(joinPath(path, entry));
            yield;
          }
        }
      } finally {
        close(fd);
      }
    }
  } finally {
    close(rootFd);
  }
}

function joinPath(path: RelativePath, { name }: Dirent): RelativePath {
  return Buffer.concat([path.subarray(0, -1), Buffer.from("/"), name]);
}

/** Returns true for a directory. */
function addEntry(dirfd: number, name: PathName, usage: DiskUsage, seen: Set<bigint>): boolean {
  const status = statNoFollow(dirfd, name);
  if (status === undefined) return false;
  const isDirectory = (status.mode & S_IFMT) === S_IFDIR;
  if (status.links > 1 && !isDirectory) {
    if (seen.has(status.inode)) return false;
    seen.add(status.inode);
  }
  usage.bytes += status.blocks * 512;
  usage.inodes++;
  return isDirectory;
}

const gone = new Set(["ENOENT", "ENOTDIR", "ELOOP", "EXDEV", "ENAMETOOLONG"]);

/** Undefined for what has gone, is another filesystem, or lies too deep for a path. */
function tryOpen(dirfd: number, path: PathName, resolve: number): number | undefined {
  try {
    return openat2(dirfd, path, { flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW, resolve });
  } catch (error) {
    if (gone.has(errnoOf(error) ?? "")) return undefined;
    throw error;
  }
}

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
  const tree: Tree = { rootFd, usage, seen: new Set(), pending: [Buffer.from(".\0")] };
  try {
    addEntry(rootFd, Buffer.from(".\0"), tree);
    yield;
    for (let path = tree.pending.pop(); path !== undefined; path = tree.pending.pop())
      yield* measureDirectory(path, tree);
  } finally {
    close(rootFd);
  }
}

interface Tree {
  rootFd: number;
  usage: DiskUsage;
  /** Inodes with several names that have been counted. */
  seen: Set<bigint>;
  /** Paths and not descriptors: a tree may be deeper than a process may have files open. */
  pending: RelativePath[];
}

function* measureDirectory(path: RelativePath, tree: Tree): Generator<void> {
  const resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  const fd = tryOpen(tree.rootFd, path, resolve);
  if (fd === undefined) return;
  try {
    for (const entry of direntsOf(fd)) {
      if (addEntry(fd, entry.name, tree)) tree.pending.push(joinPath(path, entry));
      yield;
    }
  } finally {
    close(fd);
  }
}

function* direntsOf(fd: number): Generator<Dirent> {
  const buffer = Buffer.allocUnsafe(16 * 1024);
  for (let entries = readDirents(fd, buffer); entries.length > 0; entries = readDirents(fd, buffer))
    yield* entries;
}

function joinPath(path: RelativePath, { name }: Dirent): RelativePath {
  return Buffer.concat([path.subarray(0, -1), Buffer.from("/"), name]);
}

/** Returns true for a directory. */
function addEntry(dirfd: number, name: PathName, { usage, seen }: Tree): boolean {
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

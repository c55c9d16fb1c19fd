// Deletes a directory tree by descriptors: what is inside was written by containers, which may still hold it and swap
// a directory for a symlink between two steps of a deletion by path.
import { randomBytes } from "node:crypto";
import {
  AT_REMOVEDIR,
  close,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openat2,
  type PathName,
  renameat,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  unlinkat,
  unlinkatAsync,
} from "../linux/files.ts";
import { type Dirent, readDirents } from "../linux/directory.ts";
import { S_IFDIR, S_IFMT, statNoFollow } from "../linux/stat.ts";
import { errnoOf } from "../base/errors.ts";

/** Deeper directories are moved up first: a hostile tree must not use up all descriptors. */
const maxDepth = 64;

/** The calls that may wait for the disk; whoever drives the walk makes them. */
interface Removal {
  dirfd: number;
  name: PathName;
  /** 0 or AT_REMOVEDIR. */
  flags: number;
}

interface Level {
  fd: number;
  name: PathName;
  pending: Dirent[];
}

/** Deletes `name` below `parentFd` with all it holds. Missing: nothing happens. Throws EXDEV at a mount point. */
export function deleteTree(parentFd: number, name: PathName): void {
  for (const { dirfd, name: victim, flags } of walk(parentFd, name)) {
    try {
      unlinkat(dirfd, victim, flags);
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw error;
    }
  }
}

/** The same with every removal on the thread pool, so that the event loop goes on meanwhile. */
export async function deleteTreeAsync(parentFd: number, name: PathName): Promise<void> {
  for (const { dirfd, name: victim, flags } of walk(parentFd, name)) {
    try {
      await unlinkatAsync(dirfd, victim, flags);
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw error;
    }
  }
}

function* walk(parentFd: number, name: PathName): Generator<Removal> {
  const moved: string[] = [];
  yield* walkOne(parentFd, name, moved);
  for (let next = moved.pop(); next !== undefined; next = moved.pop()) yield* walkOne(parentFd, next, moved);
}

function* walkOne(parentFd: number, name: PathName, moved: string[]): Generator<Removal> {
  if (!isDirectory(parentFd, name)) {
    yield { dirfd: parentFd, name, flags: 0 };
    return;
  }
  const buffer = Buffer.allocUnsafe(32 * 1024);
  const levels: Level[] = [enter(parentFd, name)];
  try {
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const entry = level.pending.pop() ?? refill(level, buffer);
      if (entry === undefined) {
        levels.pop();
        close(level.fd);
        yield { dirfd: levels.at(-1)?.fd ?? parentFd, name: level.name, flags: AT_REMOVEDIR };
      } else if (entry.kind === "other" || (entry.kind === "unknown" && !isDirectory(level.fd, entry.name)))
        yield { dirfd: level.fd, name: entry.name, flags: 0 };
      else if (levels.length < maxDepth) levels.push(enter(level.fd, entry.name));
      else moved.push(moveUp(level.fd, entry.name, parentFd));
    }
  } finally {
    for (const { fd } of levels) close(fd);
  }
}

function refill(level: Level, buffer: Buffer): Dirent | undefined {
  level.pending = readDirents(level.fd, buffer);
  return level.pending.pop();
}

function isDirectory(dirfd: number, name: PathName): boolean {
  const status = statNoFollow(dirfd, name);
  return status !== undefined && (status.mode & S_IFMT) === S_IFDIR;
}

// RESOLVE_NO_XDEV: a mount that was left inside the tree must not have its content deleted.
function enter(dirfd: number, name: PathName): Level {
  const resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const fd = openat2(dirfd, name, { flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW, resolve });
  return { fd, name, pending: [] };
}

function moveUp(dirfd: number, name: PathName, parentFd: number): string {
  const place = `.deep-${randomBytes(8).toString("hex")}`;
  renameat(dirfd, name, parentFd, place);
  return place;
}

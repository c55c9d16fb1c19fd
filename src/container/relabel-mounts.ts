// Volumes that the pod's author wants the container to have to itself: they are given the container's file label.
import { realpathSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { errnoOf, invalidArgument, wrapError } from "../base/errors.ts";
import { type Dirent, readDirents } from "../linux/directory.ts";
import {
  AT_FDCWD,
  close,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  openat2,
  type PathName,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from "../linux/files.ts";
import { fileLabel, setFileLabel } from "../linux/selinux.ts";
import type { ContainerMount } from "./container-config.ts";

/** What the host itself lives of: relabelled for one container, nothing else could use it any more. */
const protectedPaths: ReadonlySet<string> = new Set(
  "/ /bin /boot /dev /etc /etc/passwd /etc/pki /etc/shadow /home /lib /lib64 /media /opt /proc /root /run /sbin /srv /sys /tmp /usr /var /var/lib /var/log".split(
    " ",
  ),
);

/** The daemon answers others after this many entries. */
const entriesATurn = 256;

/**
 * Relabels the sources of the mounts that ask for it. A filesystem without labels is left as it is.
 * @throws CricketError invalid-argument for a directory of the host's own
 */
export async function relabelMounts(mounts: readonly ContainerMount[], label: string): Promise<void> {
  if (label === "") return;
  for (const [index, { hostPath, selinuxRelabel }] of mounts.entries()) {
    if (!selinuxRelabel || hostPath === "") continue;
    // The bind mount will follow links too.
    const path = realpathSync(hostPath);
    if (protectedPaths.has(path))
      throw invalidArgument(`config.mounts[${index}].selinux_relabel: ${path} must keep its label`);
    try {
      await relabelInTurns(path, label);
    } catch (error) {
      throw wrapError(`relabel ${path}`, error);
    }
  }
}

async function relabelInTurns(path: string, label: string): Promise<void> {
  let entries = 0;
  for (const _ of relabelTree(path, label)) if (++entries % entriesATurn === 0) await nextTurn();
}

/** Labels `root` and all below it, links themselves and not what they point to; yields after each entry. */
function* relabelTree(root: string, label: string): Generator<void> {
  const rootFd = openat2(AT_FDCWD, root, { flags: O_PATH });
  try {
    relabel(rootFd, label);
    yield;
    // Paths and not descriptors: a tree may be deeper than a process may have files open.
    const pending: PathName[] = [Buffer.from(".\0")];
    for (let path = pending.pop(); path !== undefined; path = pending.pop())
      yield* relabelDirectory({ rootFd, path, label, pending });
  } finally {
    close(rootFd);
  }
}

interface Place {
  rootFd: number;
  path: PathName;
  label: string;
  pending: PathName[];
}

function* relabelDirectory({ rootFd, path, label, pending }: Place): Generator<void> {
  const directory = tryOpen(rootFd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (directory === undefined) return;
  try {
    for (const entry of direntsOf(directory)) {
      const fd = tryOpen(directory, entry.name, O_PATH | O_NOFOLLOW);
      if (fd === undefined) continue;
      try {
        relabel(fd, label);
      } finally {
        close(fd);
      }
      if (entry.kind !== "other") pending.push(joinPath(path, entry.name));
      yield;
    }
  } finally {
    close(directory);
  }
}

function relabel(fd: number, label: string): void {
  // Read first: most starts find everything labelled, and nothing has to be written then.
  if (fileLabel(fd) !== label) setFileLabel(fd, label);
}

function* direntsOf(fd: number): Generator<Dirent> {
  const buffer = Buffer.alloc(32 * 1024);
  for (;;) {
    const entries = readDirents(fd, buffer);
    if (entries.length === 0) return;
    yield* entries;
  }
}

/** Undefined for what has gone meanwhile, and for what turned out to be no directory. */
function tryOpen(dirfd: number, path: PathName, flags: number): number | undefined {
  const resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  try {
    // O_PATH | O_NOFOLLOW opens a symlink itself, which RESOLVE_NO_SYMLINKS allows in the last place.
    return openat2(dirfd, path, { flags, resolve });
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT" || errno === "ENOTDIR" || errno === "ELOOP") return undefined;
    throw error;
  }
}

function joinPath(directory: PathName, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(directory).subarray(0, -1), Buffer.from("/"), name]);
}

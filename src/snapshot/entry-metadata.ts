// Owner, mode, extended attributes and times of what an archive describes, always on the object itself: never through
// a symlink (CVE-2021-32760).
import { chmodSync } from "node:fs";
import {
  AT_SYMLINK_NOFOLLOW,
  close,
  fchownat,
  fdPath,
  fsetxattr,
  lsetxattr,
  O_NOFOLLOW,
  O_PATH,
  openat,
  type PathName,
  utimensat,
} from "../linux/files.ts";
import { errnoOf } from "../base/errors.ts";
import type { TarEntry } from "./tar-entry.ts";

type Xattrs = TarEntry["xattrs"];

// Instructions to overlayfs (opaque, redirect, metacopy) and not content: an image must not be able to give them.
const overlayPrefix = "trusted.overlay.";

/** Sets extended attributes on an open file or directory; returns how many the filesystem does not take. */
export function applyFileXattrs(fd: number, xattrs: Xattrs): number {
  return applyXattrs(xattrs, (name, value) => fsetxattr(fd, name, value));
}

/** True when files made in a directory with these attributes do not simply get the mode they ask for. */
export function isPosixDefaultAcl(xattrs: Xattrs): boolean {
  return xattrs.has("system.posix_acl_default");
}

/** All of it for a symlink, device or fifo, which cannot be opened for that; returns the attributes not taken. */
export function applyNodeMetadata(
  parentFd: number,
  name: PathName,
  entry: TarEntry,
  isSymlink: boolean,
): number {
  fchownat(parentFd, name, entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW);
  if (!isSymlink) chmodNode(parentFd, name, entry.mode);
  const path = entry.xattrs.size > 0 ? pathBelow(parentFd, name) : "";
  const skipped = applyXattrs(entry.xattrs, (key, value) => lsetxattr(path, key, value));
  utimensat(parentFd, name, entry.modifiedAt, entry.modifiedAt, AT_SYMLINK_NOFOLLOW);
  return skipped;
}

// fchmodat has no AT_SYMLINK_NOFOLLOW before Linux 6.6: by an O_PATH descriptor and its link in /proc.
function chmodNode(parentFd: number, name: PathName, mode: number): void {
  const fd = openat(parentFd, name, O_PATH | O_NOFOLLOW);
  try {
    chmodSync(fdPath(fd), mode);
  } finally {
    close(fd);
  }
}

function pathBelow(parentFd: number, name: PathName): PathName {
  const directory = `${fdPath(parentFd)}/`;
  return typeof name === "string" ? directory + name : Buffer.concat([Buffer.from(directory), name]);
}

function applyXattrs(xattrs: Xattrs, set: (name: string, value: Buffer) => void): number {
  let skipped = 0;
  for (const [name, value] of xattrs) {
    if (name.startsWith(overlayPrefix)) continue;
    try {
      set(name, value);
    } catch (error) {
      if (!mayBeSkipped(name, errnoOf(error))) throw error;
      skipped++;
    }
  }
  return skipped;
}

// A filesystem without user.* attributes, or a label of a security module that this kernel lacks, is no reason to
// refuse an image. A file capability that cannot be set is: the program would run without it.
function mayBeSkipped(name: string, errno: string | undefined): boolean {
  if (name === "security.capability") return false;
  if (errno === "EOPNOTSUPP" || errno === "ENOTSUP") return true;
  return name.startsWith("security.") && (errno === "EPERM" || errno === "EINVAL");
}

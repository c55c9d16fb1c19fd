// statx(2): one layout on every architecture, unlike struct stat.
import { AT_SYMLINK_NOFOLLOW, type PathName, printablePath } from "./files.ts";
import { lastErrno, libc } from "./libc.ts";
import { SyscallError } from "../base/errors.ts";

export const S_IFMT = 0o170000;
export const S_IFIFO = 0o010000;
export const S_IFCHR = 0o020000;
export const S_IFDIR = 0o040000;
export const S_IFBLK = 0o060000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;

const STATX_BASIC_STATS = 0x7ff;
const statxSize = 256;

// int statx(int dirfd, const char *pathname, int flags, unsigned int mask, struct statx *statxbuf);
const cStatx = libc.func(
  "int statx(int dirfd, const char *path, int flags, unsigned int mask, _Out_ void *buffer)",
);

export interface FileStatus {
  /** File type and permissions, as in st_mode. */
  mode: number;
  uid: number;
  gid: number;
  links: number;
  inode: bigint;
  sizeBytes: number;
  /** What the file occupies on disk, in units of 512 bytes. */
  blocks: number;
  deviceMajor: number;
  deviceMinor: number;
}

// One buffer for all calls of a thread: statx writes it and the fields are read before the next call.
const buffer = Buffer.alloc(statxSize);

/** statx(2) without following a symlink in the last component; undefined when there is no such entry. */
export function statNoFollow(dirfd: number, path: PathName): FileStatus | undefined {
  if (cStatx(dirfd, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, buffer) === 0) return readStatx();
  const errno = lastErrno();
  if (errno === "ENOENT") return undefined;
  throw new SyscallError("statx", errno, printablePath(path));
}

/** True for overlayfs's mark of a deleted entry: a character device 0:0. */
export function isWhiteout(status: FileStatus): boolean {
  return (status.mode & S_IFMT) === S_IFCHR && status.deviceMajor === 0 && status.deviceMinor === 0;
}

// linux/stat.h, struct statx: nlink at 16, uid 20, gid 24, mode 28, ino 32, size 40, blocks 48, rdev 128 and 132.
function readStatx(): FileStatus {
  return {
    links: buffer.readUInt32LE(16),
    uid: buffer.readUInt32LE(20),
    gid: buffer.readUInt32LE(24),
    mode: buffer.readUInt16LE(28),
    inode: buffer.readBigUInt64LE(32),
    sizeBytes: Number(buffer.readBigUInt64LE(40)),
    blocks: Number(buffer.readBigUInt64LE(48)),
    deviceMajor: buffer.readUInt32LE(128),
    deviceMinor: buffer.readUInt32LE(132),
  };
}

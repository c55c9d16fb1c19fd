// Descriptor-relative file calls. Everything inside a rootfs or a layer goes through these: a path string that is
// checked first and used later can be swapped for a symlink in between (CVE-2021-30465, CVE-2018-15664).
import type { KoffiFunc } from "koffi";
import { check, lastErrno, libc } from "./libc.ts";
import { SyscallError } from "../base/errors.ts";

export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_EMPTY_PATH = 0x1000;

export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const O_NONBLOCK = 0o4000;
// asm/fcntl.h: arm64 exchanges these two with O_DIRECT and O_LARGEFILE.
export const O_DIRECTORY = process.arch === "arm64" ? 0o40000 : 0o200000;
export const O_NOFOLLOW = process.arch === "arm64" ? 0o100000 : 0o400000;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;

/** openat2(2) resolve flags. */
export const RESOLVE_NO_XDEV = 0x01;
export const RESOLVE_NO_MAGICLINKS = 0x02;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_BENEATH = 0x08;
export const RESOLVE_IN_ROOT = 0x10;

// The numbers of syscalls added since Linux 5.1 are the same on every architecture.
const SYS_openat2 = 437;

// long syscall(long number, ...); declared with fixed arguments, which the x86-64 and AAPCS64 ABIs pass alike.
const sysOpenat2 = libc.func(
  "long syscall(long number, int dirfd, const char *path, void *how, size_t size)",
);

/**
 * A path for a *at call: text, or bytes with their closing NUL for names that are no valid UTF-8 (a name in a layer
 * is any bytes without "/" and NUL).
 */
export type PathName = string | Uint8Array;

/** A path as it appears in error messages. */
export function printablePath(path: PathName): string {
  if (typeof path === "string") return path;
  return Buffer.from(path.subarray(0, -1)).toString("utf8");
}

export interface OpenHow {
  flags: number;
  mode?: number;
  resolve?: number;
}

/**
 * openat2(2): opens `path` relative to `dirfd`; O_CLOEXEC is always set. Returns the descriptor.
 * EAGAIN (a rename raced with the walk) is retried.
 */
export function openat2(dirfd: number, path: PathName, how: OpenHow): number {
  const bytes = Buffer.alloc(24);
  bytes.writeBigUInt64LE(BigInt(how.flags | O_CLOEXEC), 0);
  bytes.writeBigUInt64LE(BigInt(how.mode ?? 0), 8);
  bytes.writeBigUInt64LE(BigInt(how.resolve ?? 0), 16);
  for (let attempt = 0; ; attempt++) {
    const fd = Number(sysOpenat2(SYS_openat2, dirfd, path, bytes, bytes.length));
    if (fd !== -1) return fd;
    const errno = lastErrno();
    if (errno === "EINTR" || (errno === "EAGAIN" && attempt < 128)) continue;
    throw new SyscallError("openat2", errno, printablePath(path));
  }
}

// int openat(int dirfd, const char *pathname, int flags, mode_t mode);
const cOpenat = libc.func("int openat(int dirfd, const char *path, int flags, uint32_t mode)");
const cMkdirat = libc.func("int mkdirat(int dirfd, const char *path, uint32_t mode)");
const cMknodat = libc.func("int mknodat(int dirfd, const char *path, uint32_t mode, uint64_t dev)");
const cSymlinkat = libc.func("int symlinkat(const char *target, int newdirfd, const char *linkpath)");
const cLinkat = libc.func(
  "int linkat(int olddirfd, const char *old, int newdirfd, const char *path, int flags)",
);
const cUnlinkat = libc.func("int unlinkat(int dirfd, const char *path, int flags)");
const cFchownat = libc.func(
  "int fchownat(int dirfd, const char *path, uint32_t uid, uint32_t gid, int flags)",
);
const cFchmod = libc.func("int fchmod(int fd, uint32_t mode)");
const cUtimensat = libc.func("int utimensat(int dirfd, const char *path, const void *times, int flags)");
const cFutimens = libc.func("int futimens(int fd, const void *times)");
const cFchown = libc.func("int fchown(int fd, uint32_t uid, uint32_t gid)");
const cRenameat = libc.func("int renameat(int olddirfd, const char *old, int newdirfd, const char *path)");
const cFsync = libc.func("int fsync(int fd)");
const cClose = libc.func("int close(int fd)");
const cSyncfs = libc.func("int syncfs(int fd)");
const cFsetxattr = libc.func(
  "int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)",
);
const cSetxattr = libc.func(
  "int setxattr(const char *path, const char *name, const void *value, size_t size, int flags)",
);
const cLsetxattr = libc.func(
  "int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags)",
);
const cGetxattr = libc.func(
  "intptr_t getxattr(const char *path, const char *name, _Out_ uint8_t *value, size_t size)",
);

export function mkdirat(dirfd: number, path: PathName, mode: number): void {
  checkAt(cMkdirat(dirfd, path, mode) as number, "mkdirat", path);
}

// As check(), for paths that may be bytes: the text form is made only for an error.
function checkAt(result: number, syscall: string, path: PathName): number {
  if (result === -1) throw new SyscallError(syscall, lastErrno(), printablePath(path));
  return result;
}

/** openat(2) with O_CLOEXEC, for a single name below an open directory; it follows symlinks unless told O_NOFOLLOW. */
export function openat(dirfd: number, name: PathName, flags: number, mode = 0): number {
  return checkAt(cOpenat(dirfd, name, flags | O_CLOEXEC, mode) as number, "openat", name);
}

/** `mode` carries the file type (S_IFCHR ...); `device` is makedev(3)'s 64-bit form, see `makedev`. */
export function mknodat(dirfd: number, path: PathName, mode: number, device: bigint): void {
  checkAt(cMknodat(dirfd, path, mode, device) as number, "mknodat", path);
}

/** makedev(3): the 64-bit device number of the C library. */
export function makedev(major: number, minor: number): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return (
    ((high & 0xfffff000n) << 32n) | ((high & 0xfffn) << 8n) | ((low & 0xffffff00n) << 12n) | (low & 0xffn)
  );
}

export function symlinkat(target: PathName, dirfd: number, path: PathName): void {
  checkAt(cSymlinkat(target, dirfd, path) as number, "symlinkat", path);
}

export function linkat(oldDirfd: number, oldPath: PathName, dirfd: number, path: PathName, flags = 0): void {
  checkAt(cLinkat(oldDirfd, oldPath, dirfd, path, flags) as number, "linkat", path);
}

export function unlinkat(dirfd: number, path: PathName, flags = 0): void {
  checkAt(cUnlinkat(dirfd, path, flags) as number, "unlinkat", path);
}

export function fchownat(dirfd: number, path: PathName, uid: number, gid: number, flags: number): void {
  checkAt(cFchownat(dirfd, path, uid, gid, flags) as number, "fchownat", path);
}

export function fchmod(fd: number, mode: number): void {
  check(cFchmod(fd, mode) as number, "fchmod", `fd ${fd}`);
}

export interface Timespec {
  seconds: bigint;
  nanoseconds: number;
}

/** utimensat(2) with both times. */
export function utimensat(
  dirfd: number,
  path: PathName,
  atime: Timespec,
  mtime: Timespec,
  flags: number,
): void {
  packTimes(atime, mtime);
  checkAt(cUtimensat(dirfd, path, times, flags) as number, "utimensat", path);
}

/** futimens(3) with both times. */
export function futimens(fd: number, atime: Timespec, mtime: Timespec): void {
  packTimes(atime, mtime);
  check(cFutimens(fd, times) as number, "futimens", `fd ${fd}`);
}

// Two `struct timespec` of 64-bit fields; one buffer a thread, as the kernel copies it during the call.
const times = Buffer.alloc(32);

function packTimes(atime: Timespec, mtime: Timespec): void {
  times.writeBigInt64LE(atime.seconds, 0);
  times.writeBigInt64LE(BigInt(atime.nanoseconds), 8);
  times.writeBigInt64LE(mtime.seconds, 16);
  times.writeBigInt64LE(BigInt(mtime.nanoseconds), 24);
}

/** fchown(2). It clears setuid, setgid and file capabilities: set those afterwards. */
export function fchown(fd: number, uid: number, gid: number): void {
  check(cFchown(fd, uid, gid) as number, "fchown", `fd ${fd}`);
}

/** renameat(2). */
export function renameat(oldDirfd: number, oldPath: PathName, dirfd: number, path: PathName): void {
  checkAt(cRenameat(oldDirfd, oldPath, dirfd, path) as number, "renameat", oldPath);
}

/** unlinkat(2) off the main thread: it waits for the journal, and for the blocks of a large file to be freed. */
export async function unlinkatAsync(dirfd: number, path: PathName, flags = 0): Promise<void> {
  await callAsync({ syscall: "unlinkat", path: printablePath(path) }, cUnlinkat, dirfd, path, flags);
}

/** fsync(2) off the main thread; on a directory it makes the renames in it durable. */
export async function fsync(fd: number): Promise<void> {
  await callAsync({ syscall: "fsync", path: `fd ${fd}` }, cFsync, fd);
}

export function close(fd: number): void {
  check(cClose(fd) as number, "close", `fd ${fd}`);
}

/** syncfs(2), off the main thread: it can take seconds on a busy disk. */
export async function syncfs(fd: number): Promise<void> {
  await callAsync({ syscall: "syncfs", path: `fd ${fd}` }, cSyncfs, fd);
}

/**
 * Runs a koffi function on the libuv pool. A result of -1 rejects with a SyscallError: koffi carries errno over to the
 * callback and not beyond it.
 */
export function callAsync(
  call: { syscall: string; path?: string },
  fn: KoffiFunc<(...args: unknown[]) => unknown>,
  ...args: unknown[]
): Promise<number> {
  return new Promise((resolve, reject) => {
    fn.async(...args, (error: Error | null, result: unknown) => {
      if (error !== null) reject(error);
      else if (Number(result) === -1) reject(new SyscallError(call.syscall, lastErrno(), call.path));
      else resolve(Number(result));
    });
  });
}

export function fsetxattr(fd: number, name: string, value: Uint8Array): void {
  check(cFsetxattr(fd, name, value, value.length, 0) as number, `fsetxattr ${name}`, `fd ${fd}`);
}

/** setxattr(2) on an O_PATH descriptor, which fsetxattr refuses: by its /proc/self/fd link. */
export function setxattrPath(path: string, name: string, value: Uint8Array): void {
  check(cSetxattr(path, name, value, value.length, 0) as number, `setxattr ${name}`, path);
}

export function lsetxattr(path: PathName, name: string, value: Uint8Array): void {
  checkAt(cLsetxattr(path, name, value, value.length, 0) as number, `lsetxattr ${name}`, path);
}

/** getxattr(2); undefined where the attribute is not set. */
export function getxattr(path: string, name: string): Buffer | undefined {
  const value = Buffer.alloc(65_536);
  const length = Number(cGetxattr(path, name, value, value.length));
  if (length >= 0) return value.subarray(0, length);
  const errno = lastErrno();
  if (errno === "ENODATA" || errno === "EOPNOTSUPP") return undefined;
  throw new SyscallError(`getxattr ${name}`, errno, path);
}

/** An nsfs descriptor of a namespace of a process; `name` as in /proc/<pid>/ns. */
export function openNamespace(pid: number, name: string): number {
  return openat2(AT_FDCWD, `/proc/${pid}/ns/${name}`, { flags: O_RDONLY });
}

/** "/proc/self/fd/N": a path for calls that take only paths, safe because the object is already open. */
export function fdPath(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

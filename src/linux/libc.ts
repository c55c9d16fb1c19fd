// The C library, loaded once, and the one place where a return value of -1 becomes a SyscallError.
import koffi, { type LibraryHandle } from "koffi";
import { constants } from "node:os";
import { CricketError, SyscallError } from "../base/errors.ts";

function loadLibc(): LibraryHandle {
  for (const name of ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"]) {
    try {
      return koffi.load(name);
    } catch {
      continue;
    }
  }
  throw new CricketError("internal", "load libc: neither glibc nor musl was found");
}

export const libc = loadLibc();

const errnoNames = new Map(Object.entries(constants.errno).map(([name, value]) => [value, name]));
// libuv's table lacks these; the numbers are those of asm-generic/errno.h, the same on x86-64 and arm64.
const moreErrnoNames: [number, string][] = [
  // Of two names for one number the table's last would win (EWOULDBLOCK); the kernel's own is the first.
  [11, "EAGAIN"],
  [15, "ENOTBLK"],
  [61, "ENODATA"],
  [62, "ETIME"],
  [87, "EUSERS"],
  [95, "EOPNOTSUPP"],
  [112, "EHOSTDOWN"],
  [117, "EUCLEAN"],
  [123, "ENOMEDIUM"],
  [124, "EMEDIUMTYPE"],
  [126, "ENOKEY"],
  [130, "EOWNERDEAD"],
];
for (const [value, name] of moreErrnoNames) errnoNames.set(value, name);

/** "ENOENT" for 2; `E<number>` where the number has no name here. */
export function errnoName(errno: number): string {
  return errnoNames.get(errno) ?? `E${errno}`;
}

/** The errno of the last koffi call of this thread: read it before anything else runs. */
export function lastErrno(): string {
  return errnoName(koffi.errno());
}

/** Passes a syscall's result on; -1 becomes a SyscallError that names the call and its object. */
export function check(result: number, syscall: string, path?: string): number {
  if (result === -1) throw new SyscallError(syscall, lastErrno(), path);
  return result;
}

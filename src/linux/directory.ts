// Reading directories by descriptor, in pieces: a directory with a million names never becomes one array.
import { check, libc } from "./libc.ts";
import { CricketError } from "../base/errors.ts";

// long syscall(SYS_getdents64, int fd, void *dirp, size_t count); musl has no wrapper of that name.
const sysGetdents = libc.func("long syscall(long number, int fd, _Out_ void *buffer, size_t size)");

const getdentsNumbers: Partial<Record<string, number>> = { x64: 217, arm64: 61 };

export type DirentKind = "directory" | "other" | "unknown";

export interface Dirent {
  /** The name's bytes with the closing NUL, ready to be passed to a *at call. */
  name: Buffer;
  /** "unknown" on filesystems that keep no type in the directory. */
  kind: DirentKind;
}

const DT_UNKNOWN = 0;
const DT_DIR = 4;

/**
 * getdents64(2): the next entries of an open directory, without "." and ".."; empty at its end. `buffer` is scratch
 * space of at least 512 bytes; the names are copies.
 */
export function readDirents(fd: number, buffer: Buffer): Dirent[] {
  const number = getdentsNumbers[process.arch];
  if (number === undefined) throw new CricketError("unimplemented", `getdents64 on ${process.arch}`);
  for (;;) {
    const length = check(Number(sysGetdents(number, fd, buffer, buffer.length)), "getdents64", `fd ${fd}`);
    if (length === 0) return [];
    const entries = decodeDirents(buffer.subarray(0, length));
    if (entries.length > 0) return entries;
  }
}

// struct linux_dirent64: ino 8, off 8, reclen 2, type 1, then the name up to a NUL.
function decodeDirents(bytes: Buffer): Dirent[] {
  const entries: Dirent[] = [];
  for (let at = 0; at < bytes.length; at += bytes.readUInt16LE(at + 16)) {
    const nameEnd = bytes.indexOf(0, at + 19);
    const name = Buffer.from(bytes.subarray(at + 19, nameEnd + 1));
    if (isSelfOrParent(name)) continue;
    const type = bytes[at + 18];
    const kind = type === DT_DIR ? "directory" : type === DT_UNKNOWN ? "unknown" : "other";
    entries.push({ name, kind });
  }
  return entries;
}

function isSelfOrParent(name: Buffer): boolean {
  if (name[0] !== 0x2e) return false;
  return name.length === 2 || (name.length === 3 && name[1] === 0x2e);
}

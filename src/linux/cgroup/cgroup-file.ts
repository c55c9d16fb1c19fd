// Reading and writing single cgroup files, synchronously: each takes about ten microseconds, less than handing it to
// another thread.
import { closeSync, constants, openSync, readSync, readdirSync, writeSync } from "node:fs";
import { CricketError, errnoOf, SyscallError, type ErrorCode } from "../../base/errors.ts";

// Not O_TRUNC or O_CREAT: on a cgroup filesystem a missing file would become EPERM instead of ENOENT.
const writeFlags = constants.O_WRONLY;
const buffer = Buffer.allocUnsafe(64 * 1024);

// The kernel hands lists out by the page, cut at the last line that fits, and lines of io.stat are long: what is much
// less than a page is the end, and the read that would say so can be saved.
const fullRead = 2048;

// What a missing file looks like: no such controller, cgroup gone (ENODEV from an open file of a removed one),
// or a kernel that has the file but not the feature behind it (PSI switched off at boot).
const absent = new Set(["ENOENT", "ENODEV", "EOPNOTSUPP", "ENOTDIR"]);

/** The content of a cgroup file; undefined where it does not exist. */
export function readCgroupFile(file: string): string | undefined {
  try {
    const fd = openSync(file, constants.O_RDONLY);
    try {
      let text = "";
      for (let read = fullRead; read >= fullRead;) {
        read = readSync(fd, buffer, 0, buffer.length, null);
        text += buffer.toString("latin1", 0, read);
      }
      return text;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const errno = errnoOf(error) ?? "EIO";
    if (absent.has(errno)) return undefined;
    throw new SyscallError("read", errno, file);
  }
}

/** Writes one value with one write(2): the kernel takes each write as one command. */
export function writeCgroupFile(file: string, value: string): void {
  try {
    const fd = openSync(file, writeFlags);
    try {
      writeSync(fd, value);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw writeError(file, value, error);
  }
}

/** Writes several values to one file, each as its own command (devices.allow). */
export function writeCgroupFileLines(file: string, values: readonly string[]): void {
  let value = values[0] ?? "";
  try {
    const fd = openSync(file, writeFlags);
    try {
      for (value of values) writeSync(fd, value);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw writeError(file, value, error);
  }
}

// What the kernel says about a value a caller chose is the caller's error: EINVAL and ERANGE for a value that can
// never be, EBUSY and ENOSPC for one that cannot be now.
const callerErrors: Readonly<Record<string, ErrorCode>> = {
  EINVAL: "invalid-argument",
  ERANGE: "invalid-argument",
  EBUSY: "failed-precondition",
};

/** `write 5 to /sys/fs/cgroup/.../memory.max: EBUSY`. */
export function writeError(file: string, value: string, error: unknown): CricketError {
  const errno = errnoOf(error) ?? "EIO";
  const cause = new SyscallError(`write ${value} to`, errno, file);
  const code = callerErrors[errno];
  return code === undefined ? cause : new CricketError(code, cause.message, { cause });
}

/** A file with one number; "max" and a missing file are undefined. */
export function readNumber(file: string): bigint | undefined {
  return parseNumber(readCgroupFile(file));
}

export function parseNumber(text: string | undefined): bigint | undefined {
  const trimmed = text?.trim() ?? "";
  return /^-?\d+$/.test(trimmed) ? BigInt(trimmed) : undefined;
}

/**
 * One value of a file of "key value" lines (memory.stat, memory.events, cpu.stat); undefined where there is no such
 * line. A search, because few of memory.stat's fifty lines are ever wanted.
 */
export function keyedValue(text: string, key: string): bigint | undefined {
  const line = `${key} `;
  let at = text.startsWith(line) ? 0 : text.indexOf(`\n${line}`) + 1;
  if (at === 0 && !text.startsWith(line)) return undefined;
  at += line.length;
  const end = text.indexOf("\n", at);
  return parseNumber(text.slice(at, end === -1 ? undefined : end));
}

/** Names of the cgroups directly below a directory; none when it is gone. */
export function childCgroups(directory: string): string[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch (error) {
    const errno = errnoOf(error) ?? "EIO";
    if (absent.has(errno)) return [];
    throw new SyscallError("readdir", errno, directory);
  }
}

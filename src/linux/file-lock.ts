// flock(2): one daemon per pair of roots. The kernel drops the lock with the process, however it ends.
import { closeSync, openSync } from "node:fs";
import { lastErrno, libc } from "./libc.ts";
import { CricketError, SyscallError } from "../base/errors.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;

const cFlock = libc.func("int flock(int fd, int operation)");

/**
 * Takes the lock or fails at once.
 * @throws CricketError failed-precondition when another process holds it
 */
export function lockFile(path: string): { release(): void } {
  const fd = openSync(path, "a", 0o600);
  if (Number(cFlock(fd, LOCK_EX | LOCK_NB)) === -1) {
    const errno = lastErrno();
    closeSync(fd);
    if (errno === "EWOULDBLOCK" || errno === "EAGAIN")
      throw new CricketError(
        "failed-precondition",
        `${path} is locked: another daemon uses these directories`,
      );
    throw new SyscallError("flock", errno, path);
  }
  return { release: () => closeSync(fd) };
}

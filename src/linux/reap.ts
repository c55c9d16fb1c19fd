// Children of the daemon. libuv waits only for what it spawned itself, so the processes of the static programs, and
// what is orphaned to a subreaper, are reaped here.
import { check, lastErrno, libc } from "./libc.ts";
import { SyscallError } from "../base/errors.ts";

const PR_SET_CHILD_SUBREAPER = 36;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x01000000;
const P_ALL = 0;

// int prctl(int op, unsigned long arg2, unsigned long arg3, unsigned long arg4, unsigned long arg5);
const cPrctl = libc.func(
  "int prctl(int op, unsigned long a, unsigned long b, unsigned long c, unsigned long d)",
);
// pid_t waitpid(pid_t pid, int *wstatus, int options);
const cWaitpid = libc.func("int waitpid(int pid, _Out_ int32_t *status, int options)");
// int waitid(idtype_t idtype, id_t id, siginfo_t *infop, int options);
const cWaitid = libc.func("int waitid(int idtype, uint32_t id, void *info, int options)");

/** prctl(PR_SET_CHILD_SUBREAPER): orphans among this process's descendants become its children. */
export function becomeSubreaper(): void {
  check(cPrctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) as number, "prctl PR_SET_CHILD_SUBREAPER");
}

export interface WaitStatus {
  /** 128 + signal when a signal ended it. */
  exitCode: number;
  /** 0 when it exited by itself. */
  signal: number;
}

/** waitpid(2) with WNOHANG: undefined while the process runs, "gone" when it is no child of this one (any more). */
export function tryReap(pid: number): WaitStatus | "gone" | undefined {
  const status = new Int32Array(1);
  const result = cWaitpid(pid, status, WNOHANG) as number;
  if (result === 0) return undefined;
  if (result === -1) {
    const errno = lastErrno();
    if (errno === "ECHILD") return "gone";
    throw new SyscallError("waitpid", errno, `pid ${pid}`);
  }
  const signal = status[0]! & 0x7f;
  return { signal, exitCode: signal === 0 ? (status[0]! >> 8) & 0xff : 128 + signal };
}

const firstDelayMs = 1;
const longestDelayMs = 1_000;

/**
 * Reaps a child that is about to end, without holding up anybody: tries at once, then at growing intervals. A process
 * whose parent is just ending is not yet ours; it is tried a few times more before it is given up.
 */
export function reapSoon(pid: number, delayMs = 0, misses = 5): void {
  const status = tryReap(pid);
  if (typeof status === "object" || (status === "gone" && misses === 0)) return;
  const nextMs = delayMs === 0 ? firstDelayMs : Math.min(delayMs * 2, longestDelayMs);
  setTimeout(() => reapSoon(pid, nextMs, status === "gone" ? misses - 1 : misses), nextMs).unref();
}

/**
 * Reaps orphans nobody waits for: what a container left behind when its monitor was killed, or an exec that ran in the
 * host's pid namespace. Call it at an interval of a second or more: a zombie that is still there at the second look has
 * no owner, since libuv and the rest of the daemon take theirs at once.
 */
export class OrphanReaper {
  #seen = 0;

  /** Returns the pids it reaped. */
  sweep(): number[] {
    const reaped: number[] = [];
    for (let pid = peekZombie(); pid !== 0; pid = peekZombie()) {
      if (pid !== this.#seen) {
        this.#seen = pid;
        return reaped;
      }
      tryReap(pid);
      reaped.push(pid);
      this.#seen = 0;
    }
    return reaped;
  }
}

// The pid of some child that has ended, which stays waitable; 0 when there is none.
function peekZombie(): number {
  const info = Buffer.alloc(128);
  const result = cWaitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT) as number;
  // siginfo_t of 64-bit Linux: si_pid is behind three ints and padding.
  return result === -1 ? 0 : info.readInt32LE(16);
}

// Processes as descriptors: a pid can be somebody else's by the time it is used, a pidfd cannot.
import { readFileSync } from "node:fs";
import koffi from "koffi";
import { check, lastErrno, libc } from "./libc.ts";
import { close } from "./files.ts";
import { SyscallError } from "../base/errors.ts";

const SYS_pidfd_send_signal = 424;
const SYS_pidfd_open = 434;

// int pidfd_open(pid_t pid, unsigned int flags), by syscall(2): glibc has it since 2.36 only.
const sysPidfdOpen = libc.func("long syscall(long number, int pid, unsigned int flags)");
// int pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned int flags);
const sysPidfdSendSignal = libc.func(
  "long syscall(long number, int pidfd, int signal, void *info, unsigned int flags)",
);

/** pidfd_open(2): close-on-exec, the caller closes it. Throws SyscallError, ESRCH when there is no such process. */
export function openPidfd(pid: number): number {
  return check(Number(sysPidfdOpen(SYS_pidfd_open, pid, 0)), "pidfd_open", `pid ${pid}`);
}

/** pidfd_send_signal(2). False when the process has ended. `signal` is a number; 0 only asks. */
export function signalPidfd(pidfd: number, signal: number): boolean {
  const result = Number(sysPidfdSendSignal(SYS_pidfd_send_signal, pidfd, signal, null, 0));
  if (result === 0) return true;
  const errno = lastErrno();
  if (errno === "ESRCH") return false;
  throw new SyscallError("pidfd_send_signal", errno, `signal ${signal}`);
}

/**
 * Field 22 of /proc/<pid>/stat, clock ticks since boot (proc(5)): with the pid it names a process for good. Undefined
 * when there is no such process.
 */
export function readStartTime(pid: number): bigint | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // Field 2, the name, may hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const field = fields[22 - 3];
  return field === undefined || field === "" ? undefined : BigInt(field);
}

/**
 * Opens the process `pid` if it is still the one that started at `startTime` (as readStartTime gives it); undefined
 * when it is gone or its pid is another's by now.
 */
export function openSameProcess(pid: number, startTime: bigint): number | undefined {
  let pidfd: number;
  try {
    pidfd = openPidfd(pid);
  } catch (error) {
    if (error instanceof SyscallError && error.errno === "ESRCH") return undefined;
    throw error;
  }
  // Looked at after the descriptor is open: from here on the pid is not given to another.
  if (readStartTime(pid) === startTime) return pidfd;
  close(pidfd);
  return undefined;
}

/** Calls `onExit` once, when the process behind `pidfd` has ended. `stop` may be called at any time, also twice. */
export function watchPidfd(pidfd: number, onExit: () => void): { stop: () => void } {
  const handle = koffi.node.poll(pidfd, { readable: true }, () => {
    stop();
    onExit();
  });
  let stopped = false;
  const stop = (): void => {
    if (stopped) return;
    stopped = true;
    handle.stop();
    handle.close();
  };
  return { stop };
}

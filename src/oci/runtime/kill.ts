// kill: a signal to the container's first process, or to all in its cgroup.
import { failedPrecondition } from "../../base/errors.ts";
import { close } from "../../linux/files.ts";
import { openPidfd, signalPidfd } from "../../linux/pidfd.ts";
import { signalNumber } from "../../linux/signals.ts";
import type { Runtime } from "./runtime.ts";

const SIGKILL = 9;

/** @throws CricketError not-found, invalid-argument, failed-precondition when it does not run */
export function killContainer({ store }: Runtime, id: string, signal: string, all: boolean): void {
  const state = store.get(id);
  // 0 only asks whether it runs (kill(2)).
  const number = signal === "0" ? 0 : signalNumber(signal);
  const pidfd = store.status(state) === "stopped" ? undefined : store.openProcess(state);
  try {
    if (all) for (const pid of store.cgroups.pids(state.cgroupPath)) signalMember(pid, number);
    else if (pidfd === undefined || !signalPidfd(pidfd, number))
      throw failedPrecondition("container not running");
    // On cgroup v1 a paused process does not even die.
    if (number === SIGKILL && store.cgroups.isFrozen(state.cgroupPath)) store.cgroups.thaw(state.cgroupPath);
  } finally {
    if (pidfd !== undefined) close(pidfd);
  }
}

function signalMember(pid: number, number: number): void {
  let pidfd: number;
  try {
    pidfd = openPidfd(pid);
  } catch {
    return;
  }
  signalPidfd(pidfd, number);
  close(pidfd);
}

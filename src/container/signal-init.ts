// A signal to a container's first process.
import { close } from "../linux/files.ts";
import { openSameProcess, signalPidfd } from "../linux/pidfd.ts";
import type { ContainerRecord } from "./container-record.ts";

/** By pidfd with the start time checked: by now the pid may be somebody else's. */
export function signalInit({ init }: ContainerRecord, signal: number): void {
  const pidfd = init === undefined ? undefined : openSameProcess(init.pid, init.startTimeTicks);
  if (pidfd === undefined) return;
  try {
    signalPidfd(pidfd, signal);
  } finally {
    close(pidfd);
  }
}

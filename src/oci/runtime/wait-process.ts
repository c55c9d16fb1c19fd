// A process in the foreground: signals go to it, its status comes back. This process is its subreaper by then.
import { close } from "../../linux/files.ts";
import { signalPidfd, watchPidfd } from "../../linux/pidfd.ts";
import { tryReap } from "../../linux/reap.ts";
import { signalNumber } from "../../linux/signals.ts";

const forwarded = [
  "SIGHUP",
  "SIGINT",
  "SIGQUIT",
  "SIGTERM",
  "SIGUSR1",
  "SIGUSR2",
  "SIGCONT",
  "SIGALRM",
] as const;
const orphanWaitMs = 5;
const orphanTries = 200;

/** Passes signals on until `stop` is called. */
export function forwardSignals(pidfd: number): { stop: () => void } {
  const onSignal = (signal: NodeJS.Signals): void => void signalPidfd(pidfd, signalNumber(signal));
  for (const signal of forwarded) process.on(signal, onSignal);
  return {
    stop: () => {
      for (const signal of forwarded) process.off(signal, onSignal);
    },
  };
}

/** The exit status of the process, 128 + signal where one ended it; closes the pidfd. 255 when somebody else took it. */
export async function waitForProcess(pid: number, pidfd: number): Promise<number> {
  await new Promise<void>((resolve) => watchPidfd(pidfd, resolve));
  close(pidfd);
  for (let tries = 0; tries < orphanTries; tries++) {
    const status = tryReap(pid);
    if (typeof status === "object") return status.exitCode;
    // Its parent, the helper, may just be ending: then it is not yet ours.
    await new Promise((resolve) => setTimeout(resolve, orphanWaitMs));
  }
  return 255;
}

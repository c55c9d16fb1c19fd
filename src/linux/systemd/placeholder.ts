// A process that stands in a new scope until the container's own has come: systemd makes no scope without a process,
// and the container enters by clone, which needs the cgroup to be there first.
import type { HelperBinary } from "../helper-binary.ts";
import type { LaunchProgram } from "../launch-program.ts";
import { close } from "../files.ts";
import { signalPidfd } from "../pidfd.ts";
import { reapSoon } from "../reap.ts";
import { runSpawn } from "../run-spawn.ts";

const SIGKILL = 9;

export interface Placeholder extends Disposable {
  readonly pid: number;
}

/** It ends when it is disposed of, and with this process: then systemd takes the empty scope away. */
export async function startPlaceholder(helper: HelperBinary): Promise<Placeholder> {
  const { pid, pidfd } = await runSpawn(helper, program(helper));
  let hasEnded = false;
  return {
    pid,
    [Symbol.dispose]: () => {
      if (hasEnded) return;
      hasEnded = true;
      signalPidfd(pidfd, SIGKILL);
      close(pidfd);
      reapSoon(pid);
    },
  };
}

function program({ pauseFd }: HelperBinary): LaunchProgram {
  return {
    steps: [
      {
        op: "parentDeathSignal",
        signal: SIGKILL,
        because: { why: "nobody else would end it", source: "man 2 PR_SET_PDEATHSIG" },
      },
      {
        op: "execFd",
        fd: pauseFd,
        argv: ["pause"],
        env: [],
        because: { why: "a few pages of memory, for a few milliseconds" },
      },
    ],
  };
}

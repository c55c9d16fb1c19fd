// `criu swrk` as a process: it serves one request on its descriptor 3 and ends. Nothing kills it when its caller dies: a
// dump that is cut off leaves the container's processes with criu's code in them, one whose caller is gone gives up in
// good order at its next notification.
import type { HelperBinary } from "../../linux/helper-binary.ts";
import { close } from "../../linux/files.ts";
import type { Step } from "../../linux/launch-program.ts";
import { signalPidfd, watchPidfd } from "../../linux/pidfd.ts";
import { tryReap } from "../../linux/reap.ts";
import { type DetachedProcess, spawnDetached } from "../../linux/spawn-detached.ts";
import { runtimeEnvironment } from "../external/runtime-command.ts";

const SIGKILL = 9;
const endWaitMs = 10_000;

/** The descriptor of the session in criu. */
export const criuSessionFd = 3;

/** The last step of a program that becomes criu. */
export function criuStep(criu: string): Step {
  return {
    op: "exec",
    argv: [criu, "swrk", `${criuSessionFd}`],
    env: runtimeEnvironment.map((line) => Buffer.from(line)),
    because: { why: "criu serves one request and ends", source: "criu.org/RPC" },
  };
}

/** criu beside nothing else: for a dump. */
export function startCriu(helper: HelperBinary, criu: string, session: number): Promise<DetachedProcess> {
  const steps: Step[] = [
    { op: "fork", flags: 0, because: { why: "criu, which is waited for" } },
    {
      op: "newSession",
      because: { why: "what the caller's terminal sends is not for it", source: "man 2 setsid" },
    },
    criuStep(criu),
  ];
  const nothing = helper.nullFd;
  return spawnDetached(helper, { steps }, { stdio: [nothing, nothing, nothing], kept: [session] });
}

/** After its answer it has only to end. */
export async function awaitCriu({ pid, pidfd }: { pid: number; pidfd: number }): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => signalPidfd(pidfd, SIGKILL), endWaitMs);
    watchPidfd(pidfd, () => {
      clearTimeout(timer);
      resolve();
    });
  });
  close(pidfd);
  // Elsewhere somebody else's child.
  tryReap(pid);
}

import type { CriClient } from "../../cri-api/client.ts";
import { defineCommand, ExitError, exitStatus, type Surroundings } from "./command.ts";
import { withDaemon } from "./connect.ts";
import { wholeSeconds } from "./duration.ts";
import { needContainer } from "./find-object.ts";
import { notRunError } from "./program-status.ts";
import { runRemoteCommand } from "./remote-command.ts";

export const exec = defineCommand({
  operands: "CONTAINER COMMAND [ARG...]",
  summary: "run a command in a running container",
  description: `
With -it the command has your terminal: every key goes to it, and it follows the size of your window. The command
and all it started end with this one, also when that is killed.
Exit status: that of the command; 124 after the time-out, 125 when cricket failed, 126 or 127 when the
command cannot be executed or does not exist.`,
  options: {
    interactive: { short: "i", about: "pass your input on; its end is the command's" },
    tty: { short: "t", about: "give the command a terminal" },
    timeout: { value: "SECONDS", about: "kill the command after this time" },
  },
  arity: [2, Infinity],
  passesRest: true,
  run: (invocation) =>
    withDaemon(
      invocation,
      async (client) => {
        const { options, operands, surroundings } = invocation;
        const [text = "", ...cmd] = operands;
        const seconds = options.timeout === undefined ? 0 : wholeSeconds(options.timeout, "--timeout");
        const { id } = await needContainer(client, text, exitStatus.notRun);
        const { interactive: stdin, tty } = options;
        return execute(client, { containerId: id, cmd, stdin, tty, seconds }, surroundings);
      },
      exitStatus.notRun,
    ),
});

interface Execution {
  containerId: string;
  cmd: readonly string[];
  stdin: boolean;
  tty: boolean;
  /** 0: none. */
  seconds: number;
}

async function execute(
  client: CriClient,
  { containerId, cmd, stdin, tty, seconds }: Execution,
  { streams, interrupted }: Surroundings,
): Promise<number> {
  const request = { containerId, cmd, stdin, tty, stdout: true, stderr: !tty };
  const { url } = await client.runtime.exec(request, { signal: interrupted });
  const timeout = new AbortController();
  const timer = seconds === 0 ? undefined : setTimeout(() => timeout.abort(), seconds * 1000);
  try {
    const signal = AbortSignal.any([interrupted, timeout.signal]);
    const end = await runRemoteCommand({ url, stdin, tty, streams, signal });
    interrupted.throwIfAborted();
    if (timeout.signal.aborted)
      throw new ExitError(exitStatus.timedOut, `the command was killed after ${seconds} s`);
    if (end.kind === "failed") throw notRunError(end.message);
    return end.kind === "ended" ? end.exitCode : exitStatus.ok;
  } finally {
    clearTimeout(timer);
  }
}

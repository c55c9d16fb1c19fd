import { RpcError, type CriClient } from "../../cri-api/client.ts";
import { toInt64 } from "../../cri-api/int64.ts";
import { defineCommand, ExitError, exitStatus, type Surroundings } from "./command.ts";
import { withDaemon } from "./connect.ts";
import { wholeSeconds } from "./duration.ts";
import { needContainer } from "./find-object.ts";
import { notRunStatus } from "./program-status.ts";

export const exec = defineCommand({
  operands: "CONTAINER COMMAND [ARG...]",
  summary: "run a command in a running container",
  description: `
The command runs to its end without input; its output is shown then, at most 16 MiB of each stream.
Exit status: that of the command; 124 after the time-out, 125 when cricket failed, 126 or 127 when the
command cannot be executed or does not exist.`,
  options: { timeout: { value: "SECONDS", about: "kill the command after this time" } },
  arity: [2, Infinity],
  passesRest: true,
  run: (invocation) =>
    withDaemon(
      invocation,
      async (client) => {
        const { options, operands, surroundings } = invocation;
        const [text = "", ...cmd] = operands;
        const seconds = options.timeout === undefined ? 0 : wholeSeconds(options.timeout, "--timeout");
        const container = await needContainer(client, text, exitStatus.notRun);
        return execute(client, { containerId: container.id, cmd, seconds }, surroundings);
      },
      exitStatus.notRun,
    ),
});

interface Execution {
  containerId: string;
  cmd: readonly string[];
  seconds: number;
}

async function execute(
  client: CriClient,
  { containerId, cmd, seconds }: Execution,
  surroundings: Surroundings,
): Promise<number> {
  try {
    const response = await client.runtime.execSync(
      { containerId, cmd, timeout: toInt64(BigInt(seconds)) },
      { signal: surroundings.interrupted },
    );
    surroundings.stdout(response.stdout);
    surroundings.stderr(response.stderr);
    return response.exitCode & 0xff;
  } catch (error) {
    if (!(error instanceof RpcError) || surroundings.interrupted.aborted) throw error;
    if (error.status === "DEADLINE_EXCEEDED") throw new ExitError(exitStatus.timedOut, error.message);
    throw notRunStatus(error);
  }
}

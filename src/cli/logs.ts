import { existsSync } from "node:fs";
import type { CriClient } from "../../cri-api/client.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { defineCommand, ExitError, exitStatus, UsageError } from "./command.ts";
import { withDaemon } from "./connect.ts";
import { pointInTimeNs } from "./duration.ts";
import { needContainer } from "./find-object.ts";
import { followLog } from "./follow-log.ts";
import { LogPrinter } from "./log-printer.ts";
import { tailStart } from "./tail-log.ts";
import { waitForEnd } from "./wait-for-end.ts";

export const logs = defineCommand({
  operands: "CONTAINER",
  summary: "show the log of a container",
  options: {
    follow: { short: "f", about: "go on while the container runs" },
    tail: { short: "n", value: "LINES", about: "only the last lines" },
    since: { value: "TIME", about: "only what is newer: RFC 3339, or a duration such as 10m" },
    timestamps: { short: "t", about: "show the time of each line" },
  },
  arity: [1, 1],
  run: (invocation) =>
    withDaemon(invocation, async (client) => {
      const { options, operands, surroundings } = invocation;
      const sinceNs = options.since === undefined ? 0n : pointInTimeNs(options.since, Date.now(), "--since");
      const lines = options.tail === undefined ? undefined : lineCount(options.tail);
      const { path, id, isRunning } = await logOf(client, operands[0] ?? "");
      const start = lines === undefined || !existsSync(path) ? 0 : await tailStart(path, lines);
      const ended = new AbortController();
      if (options.follow && isRunning) void endWith(client, id, surroundings.interrupted, ended);
      else ended.abort();
      const printer = new LogPrinter({ timestamps: options.timestamps, sinceNs }, surroundings);
      for await (const record of followLog(path, { start, ended: ended.signal })) {
        printer.print(record);
        if (surroundings.interrupted.aborted) break;
      }
      return exitStatus.ok;
    }),
});

// Ctrl-C is the usual way to leave `logs -f` and no failure.
async function endWith(
  client: CriClient,
  containerId: string,
  interrupted: AbortSignal,
  ended: AbortController,
): Promise<void> {
  try {
    await waitForEnd(client, containerId, interrupted);
  } catch {
    // The daemon is gone or the container was removed: what is in the file is all there will be.
  }
  ended.abort();
}

function lineCount(text: string): number {
  if (!/^\d{1,9}$/.test(text))
    throw new UsageError(`--tail ${JSON.stringify(text)} is not a number of lines`);
  return Number(text);
}

interface LogFile {
  id: string;
  path: string;
  isRunning: boolean;
}

async function logOf(client: CriClient, text: string): Promise<LogFile> {
  const { id } = await needContainer(client, text);
  const { status } = await client.runtime.containerStatus({ containerId: id });
  const path = status?.logPath ?? "";
  if (path === "") throw new ExitError(exitStatus.failure, "the container keeps no log");
  return { id, path, isRunning: status?.state === v1.ContainerState.CONTAINER_RUNNING };
}

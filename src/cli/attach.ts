import type { CriClient } from "../../cri-api/client.ts";
import { defineCommand, ExitError, exitStatus, type Surroundings } from "./command.ts";
import { withDaemon } from "./connect.ts";
import { defaultDetachKeys, parseDetachKeys } from "./detach-keys.ts";
import { needContainer } from "./find-object.ts";
import { runRemoteCommand } from "./remote-command.ts";

export const attach = defineCommand({
  operands: "CONTAINER",
  summary: "connect to the streams of a running container's program",
  description: `
Shows what the program writes from now on and passes your input on, where the container was made to take any. On a
terminal the detach keys leave it running; elsewhere Ctrl-C does.
Exit status: that of the program; 0 when you left, 125 when cricket failed.`,
  options: {
    "no-stdin": { about: "do not pass your input on" },
    "detach-keys": { value: "KEYS", about: `leave with these keys (default ${defaultDetachKeys}; "": none)` },
  },
  arity: [1, 1],
  run: (invocation) =>
    withDaemon(
      invocation,
      async (client) => {
        const { options, operands, surroundings } = invocation;
        const keys = parseDetachKeys(options["detach-keys"] ?? defaultDetachKeys);
        const { id } = await needContainer(client, operands[0] ?? "", exitStatus.notRun);
        return attend(client, { containerId: id, stdin: !options["no-stdin"], keys }, surroundings);
      },
      exitStatus.notRun,
    ),
});

interface Attachment {
  containerId: string;
  stdin: boolean;
  keys: readonly number[];
}

async function attend(
  client: CriClient,
  { containerId, stdin, keys }: Attachment,
  { streams, interrupted, stderr }: Surroundings,
): Promise<number> {
  const tty = await hasTerminal(client, containerId);
  const request = { containerId, stdin, tty, stdout: true, stderr: !tty };
  const { url } = await client.runtime.attach(request, { signal: interrupted });
  const end = await runRemoteCommand({ url, stdin, tty, streams, signal: interrupted, detachKeys: keys });
  interrupted.throwIfAborted();
  if (end.kind === "failed") throw new ExitError(exitStatus.notRun, end.message);
  if (end.kind === "left") {
    stderr("\ncricket: attach: left, the container goes on\n");
    return exitStatus.ok;
  }
  const { exitCode } = await client.cricket.waitContainer({ containerId }, { signal: interrupted });
  return exitCode & 0xff;
}

/** The CRI tells it in the verbose status alone. */
async function hasTerminal(client: CriClient, containerId: string): Promise<boolean> {
  const { info } = await client.runtime.containerStatus({ containerId, verbose: true });
  const described = JSON.parse(info["info"] ?? "{}") as {
    runtimeSpec?: { process?: { terminal?: boolean } };
  };
  return described.runtimeSpec?.process?.terminal === true;
}

import { close } from "../../linux/files.ts";
import { becomeSubreaper } from "../../linux/reap.ts";
import { createContainer, type CreatedContainer } from "../../oci/runtime/create.ts";
import { deleteContainer } from "../../oci/runtime/delete.ts";
import { relayTerminal } from "../../oci/runtime/relay-terminal.ts";
import { startContainer } from "../../oci/runtime/start.ts";
import { forwardSignals, waitForProcess } from "../../oci/runtime/wait-process.ts";
import { createFlags, createOptions } from "./create.ts";
import type { Verb, VerbContext } from "./verb.ts";

export const run: Verb = {
  operands: "CONTAINER",
  summary: "create and start a container; in the foreground wait for its end and delete it",
  flags: {
    ...createFlags,
    detach: { short: "d", help: "return when the container runs" },
    keep: { help: "the container is not deleted when it ends" },
    "no-subreaper": { help: "orphans of the container are left to the next subreaper" },
  },
  arity: [1, 1],
  failure: "run failed",
  run(context) {
    return context.flags.switches.has("detach") ? runDetached(context) : runInForeground(context);
  },
};

async function runDetached({ runtime, flags, operands, warn }: VerbContext): Promise<number> {
  const [id = ""] = operands;
  const created = await createContainer(runtime, createOptions(id, flags, false));
  created.warnings.forEach(warn);
  try {
    await startContainer(runtime, id, warn);
    return 0;
  } catch (error) {
    (await deleteContainer(runtime, id, true)).forEach(warn);
    throw error;
  }
}

async function runInForeground({ runtime, flags, operands, warn }: VerbContext): Promise<number> {
  const [id = ""] = operands;
  if (!flags.switches.has("no-subreaper")) becomeSubreaper();
  const created = await createContainer(runtime, createOptions(id, flags, true));
  created.warnings.forEach(warn);
  const remove = async (): Promise<void> => (await deleteContainer(runtime, id, true)).forEach(warn);
  try {
    const status = await runToEnd(created, () => startContainer(runtime, id, warn));
    if (!flags.switches.has("keep")) await remove();
    return status;
  } catch (error) {
    await remove();
    throw error;
  }
}

async function runToEnd(created: CreatedContainer, start: () => Promise<void>): Promise<number> {
  const { pty, pidfd } = created;
  const signals = forwardSignals(pidfd);
  try {
    const terminal = pty === undefined ? undefined : relayTerminal(pty);
    try {
      await start();
      return await waitForProcess(created.state.process?.pid ?? 0, pidfd);
    } catch (error) {
      close(pidfd);
      throw error;
    } finally {
      await terminal?.end();
    }
  } finally {
    signals.stop();
  }
}

// start: opens the gate, and says what became of the program.
import { errnoOf, failedPrecondition, LaunchError } from "../../base/errors.ts";
import { openGate } from "../../linux/gate.ts";
import { endProcess } from "./delete.ts";
import { runHooks } from "./hooks.ts";
import type { Runtime } from "./runtime.ts";

/** @throws CricketError, LaunchError with the errno of execve; the container has stopped when a hook failed */
export async function startContainer(runtime: Runtime, id: string): Promise<void> {
  const { store } = runtime;
  const state = store.get(id);
  const status = store.status(state);
  if (status === "running") throw failedPrecondition("cannot start an already running container");
  if (status === "stopped") throw failedPrecondition("cannot start a container that has stopped");
  if (status !== "created") throw failedPrecondition(`cannot start a container in the ${status} state`);
  const spec = store.loadSpec(id);
  try {
    await openGate(store.directory(id), JSON.stringify(store.describe(state)));
  } catch (error) {
    throw explainFailure(error, spec.process?.args?.[0] ?? "");
  }
  try {
    await runHooks("poststart", spec.hooks?.poststart, store.describe(state));
  } catch (error) {
    // "If any poststart hook fails, the runtime MUST generate an error, stop the container" (runtime.md#lifecycle).
    await endProcess(runtime, state);
    throw error;
  }
}

/** In the words that engines look for when they choose between exit statuses 126 and 127. */
export function explainFailure(error: unknown, program: string): unknown {
  const errno = errnoOf(error);
  if (!(error instanceof LaunchError) || (error.step !== "execve" && error.step !== "exec")) return error;
  const quoted = JSON.stringify(program);
  const because: Record<string, string> = {
    ENOENT: program.includes("/")
      ? `exec: ${quoted}: stat ${program}: no such file or directory`
      : `exec: ${quoted}: executable file not found in $PATH`,
    EACCES: `exec: ${quoted}: permission denied`,
    ENOEXEC: `exec ${program}: exec format error`,
  };
  const message = because[errno ?? ""];
  if (message === undefined) return error;
  return new LaunchError(`unable to start container process: ${message}`, error.step, error.errno);
}

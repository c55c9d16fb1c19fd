// start: opens the gate, and says what became of the program.
import { failedPrecondition } from "../../base/errors.ts";
import { openGate } from "../../linux/gate.ts";
import { endProcess } from "./delete.ts";
import { explainFailure } from "./explain-failure.ts";
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
    throw explainFailure(error, spec.process);
  }
  try {
    await runHooks("poststart", spec.hooks?.poststart, store.describe(state));
  } catch (error) {
    // "If any poststart hook fails, the runtime MUST generate an error, stop the container" (runtime.md#lifecycle).
    await endProcess(runtime, state);
    throw error;
  }
}

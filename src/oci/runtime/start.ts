// start: opens the gate, and says what became of the program.
import { failedPrecondition, LaunchError } from "../../base/errors.ts";
import { openGate } from "../../linux/gate.ts";
import type { ContainerStatus } from "./container-store.ts";
import { deleteContainer } from "./delete.ts";
import { explainFailure } from "./explain-failure.ts";
import { HookError, runHooks } from "./hooks.ts";
import type { Runtime } from "./runtime.ts";

/**
 * A hook that fails ends the container: "generate an error, stop the container, and continue the lifecycle at step 12",
 * where it is destroyed (runtime.md#lifecycle).
 * @param warn gets what poststop hooks have to complain of then
 * @throws CricketError, LaunchError with the errno of execve
 */
export async function startContainer(
  runtime: Runtime,
  id: string,
  warn: (message: string) => void,
): Promise<void> {
  const { store } = runtime;
  const state = store.get(id);
  assertCreated(store.status(state));
  const spec = store.loadSpec(id);
  try {
    await openGate(store.directory(id), JSON.stringify(store.describe(state)));
    await runHooks("poststart", spec.hooks?.poststart, store.describe(state));
  } catch (error) {
    if (isHookFailure(error)) (await deleteContainer(runtime, id, true)).forEach(warn);
    throw explainFailure(error, spec.process);
  }
}

function assertCreated(status: ContainerStatus): void {
  if (status === "running") throw failedPrecondition("cannot start an already running container");
  if (status === "stopped") throw failedPrecondition("cannot start a container that has stopped");
  if (status !== "created") throw failedPrecondition(`cannot start a container in the ${status} state`);
}

/** One in the container is told of by its launch (pause/detached-host.c), one of the runtime's by runHooks. */
function isHookFailure(error: unknown): boolean {
  return error instanceof LaunchError ? error.step.startsWith("hook") : error instanceof HookError;
}

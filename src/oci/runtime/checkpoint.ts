// checkpoint: a running container as files; without --leave-running it has ended then, and `delete` removes it.
import { failedPrecondition } from "../../base/errors.ts";
import type { CriuPlaces, DumpOptions } from "./criu-request.ts";
import { findCriu } from "./criu-program.ts";
import { dumpProcesses } from "./dump.ts";
import type { Runtime } from "./runtime.ts";

/** @throws CricketError; then the container runs as before */
export async function checkpointContainer(
  runtime: Runtime,
  id: string,
  options: DumpOptions,
  places: CriuPlaces,
): Promise<void> {
  const { store } = runtime;
  const state = store.get(id);
  const status = store.status(state);
  if (status !== "running" || state.process === undefined)
    throw failedPrecondition(`cannot checkpoint a container in the ${status} state: it must be running`);
  await dumpProcesses({
    helper: runtime.helper(),
    criu: findCriu(),
    pid: state.process.pid,
    spec: store.loadSpec(id),
    options,
    places,
  });
}

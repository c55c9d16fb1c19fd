// StopContainer: stop signal, grace period, SIGKILL to all that is in the container's cgroup.
import { wrapError } from "../base/errors.ts";
import type { ContainerRuntimes } from "./container-runtime.ts";
import type { Container, ContainerStore } from "./container-store.ts";
import { waitsForRestore } from "./container-record.ts";
import { neverStarted, recordEnd } from "./record-end.ts";
import { StopLoop } from "./stop-loop.ts";

export interface StopContainerParts {
  store: ContainerStore;
  runtimes: ContainerRuntimes;
}

/** Idempotent: an unknown id is a success (CRI: "must not return an error if the container has already been stopped"). */
export async function stopContainer(id: string, timeoutMs: number, parts: StopContainerParts): Promise<void> {
  const container = parts.store.find(id);
  if (container !== undefined) await stopAndWait(container, timeoutMs, parts);
}

/** Resolves when init has ended and nothing of the container is left running. */
export async function stopAndWait(
  container: Container,
  timeoutMs: number,
  parts: StopContainerParts,
): Promise<void> {
  if (container.state === "exited") return;
  // From a checkpoint, and not restored yet: there is no process whose end could be waited for.
  if (container.restoring === undefined && waitsForRestore(container.record))
    return recordEnd(container, neverStarted(), parts.store);
  container.restoring?.abort();
  container.stopping?.hasten(timeoutMs);
  const stopping = (container.stopping ??= new StopLoop(
    container,
    timeoutMs,
    parts.runtimes.of(container.record),
  ));
  // A client of an exec session that does not read must not keep the container from stopping (cri-o#6699).
  if (timeoutMs === 0) for (const exec of container.execs) exec.abort();
  try {
    await stopping.done;
  } catch (error) {
    // The next call begins anew: what was in the way, such as a lack of descriptors, may be gone by then.
    if (container.stopping === stopping) container.stopping = undefined;
    throw wrapError(`stop container ${container.id}`, error);
  }
  for (const exec of container.execs) exec.abort();
}

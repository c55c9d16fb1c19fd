// RemoveContainer: forces a running container down, then releases all it has; the record goes last.
import { failpoint } from "../base/failpoint.ts";
import type { KeyedLock } from "../base/keyed-lock.ts";
import type { LayerUsage } from "../snapshot/layer-usage.ts";
import type { PodContainers } from "../sandbox/stop-sandbox.ts";
import type { Container } from "./container-store.ts";
import { releaseContainer, type ReleaseContainerParts } from "./release-container.ts";
import { stopAndWait, type StopContainerParts } from "./stop-container.ts";

export interface RemoveParts extends StopContainerParts, ReleaseContainerParts {
  locks: KeyedLock;
  layerUsage: LayerUsage;
}

/** Idempotent: an unknown id is a success. */
export async function removeContainer(id: string, parts: RemoveParts): Promise<void> {
  const container = parts.store.find(id);
  if (container !== undefined) await removeFound(container, parts);
}

async function removeFound(container: Container, parts: RemoveParts): Promise<void> {
  await parts.locks.run(container.id, async () => {
    if (parts.store.find(container.id) === undefined) return;
    await stopAndWait(container, 0, parts);
    failpoint("remove-container/stopped");
    await releaseContainer(container.record, parts);
    failpoint("remove-container/released");
    parts.layerUsage.forget(container.id);
    parts.store.delete(container);
  });
}

/** What sandboxes ask of their containers. */
export function podContainers(parts: RemoveParts): PodContainers {
  const committed = (sandboxId: string): Container[] =>
    parts.store.ofSandbox(sandboxId).filter((container) => container.record.committed);
  return {
    stopAll: async (sandboxId) => {
      await Promise.all(committed(sandboxId).map((container) => stopAndWait(container, 0, parts)));
    },
    removeAll: async (sandboxId) => {
      await Promise.all(committed(sandboxId).map((container) => removeFound(container, parts)));
    },
  };
}

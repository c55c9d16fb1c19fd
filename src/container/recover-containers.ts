// At start, before the socket opens: takes up the containers of the record directory as the kernel shows them.
import { messageOf } from "../base/errors.ts";
import type { Monitor } from "../linux/monitor.ts";
import { connectMonitor } from "../linux/start-monitor.ts";
import { sweepContainerLayers } from "../snapshot/container-layer.ts";
import { nowNs } from "./container-record.ts";
import type { ContainerRuntimes } from "./container-runtime.ts";
import type { Container } from "./container-store.ts";
import { sweepHostMounts } from "./host-mounts.ts";
import { recordEnd, unknownEnd } from "./record-end.ts";
import { releaseContainer } from "./release-container.ts";
import { settleWithoutMonitor, watchContainer, type WatchParts } from "./watch-container.ts";

export interface RecoverContainerParts extends WatchParts {
  bootId: string;
  runtimes: ContainerRuntimes;
}

/** Loads all containers; half-made ones are released, live ones are watched again, ended ones get their end. */
export async function recoverContainers(parts: RecoverContainerParts): Promise<void> {
  const { records, orphans } = parts.store.records.load();
  for (const id of orphans) parts.store.records.delete(id);
  await Promise.all(
    records.map(async (record) => {
      const container = parts.store.adopt(record);
      if (record.committed) await resume(container, parts);
      else await unwind(container, parts);
    }),
  );
  const known = new Set(records.map((record) => record.id));
  sweepHostMounts(parts.paths, known);
  await sweepContainerLayers(parts.paths.containerLayersRoot, known);
}

async function unwind(container: Container, parts: RecoverContainerParts): Promise<void> {
  try {
    await releaseContainer(container.record, parts);
    parts.store.delete(container);
    parts.log.info("removed half-made container", { id: container.id });
  } catch (error) {
    // Listed as exited from now on: the kubelet's RemoveContainer tries again.
    parts.store.update(container, { committed: true, end: unknownEnd() });
    parts.log.warn("half-made container could not be released", {
      id: container.id,
      error: messageOf(error),
    });
  }
}

async function resume(container: Container, parts: RecoverContainerParts): Promise<void> {
  if (container.state === "exited") return;
  if (container.record.bootId !== parts.bootId) return recordEnd(container, unknownEnd(), parts.store);
  try {
    const monitor = await connectMonitor(parts.paths.containerDir(container.id));
    await recordStart(container, monitor, parts);
    watchContainer(container, monitor, parts);
  } catch {
    await settleWithoutMonitor(container, parts);
  }
}

/** The daemon may have died between the start and recording that it did. */
async function recordStart(
  container: Container,
  monitor: Monitor,
  { runtimes, store }: RecoverContainerParts,
): Promise<void> {
  if (container.record.startedAtNs !== undefined) return;
  if (await runtimes.of(container.record).hasStarted(container, monitor))
    store.update(container, { startedAtNs: nowNs() });
}

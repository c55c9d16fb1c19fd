// At start, before the socket opens: takes up the containers of the record directory as the kernel shows them.
import { existsSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { hasCode, messageOf } from "../base/errors.ts";
import { readExitFile } from "../linux/exit-file.ts";
import type { Monitor } from "../linux/monitor.ts";
import { connectMonitor } from "../linux/start-monitor.ts";
import { sweepContainerLayers } from "../snapshot/container-layer.ts";
import { nowNs, waitsForRestore } from "./container-record.ts";
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
  for (const id of orphans) {
    parts.log.warn("removed container without a readable record", { id });
    parts.store.records.delete(id);
  }
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
    parts.log.warn("half-made container could not be released", {
      id: container.id,
      error: messageOf(error),
    });
    // Listed as exited from now on: the kubelet's RemoveContainer tries again.
    await guarded(container, parts, () =>
      parts.store.update(container, { committed: true, end: unknownEnd() }),
    );
  }
}

async function resume(container: Container, parts: RecoverContainerParts): Promise<void> {
  const { record } = container;
  if (container.state === "exited") return;
  if (record.bootId !== parts.bootId)
    return guarded(container, parts, () => recordEnd(container, unknownEnd(), parts.store));
  if (waitsForRestore(record) && (await stillWaits(container, parts))) return;
  const patience = new AbortController();
  const impatient = delay(monitorPatienceMs, true, { signal: patience.signal }).catch(() => false);
  // A monitor that hangs in the kernel, writing to a log on a dead disk, must not keep all others waiting.
  if (await Promise.race([connect(container, parts), impatient]))
    parts.log.warn("monitor does not answer yet", { id: record.id });
  patience.abort();
}

/** A monitor answers in a millisecond, and on a node that has just booted everything at once in some hundred. */
const monitorPatienceMs = 5_000;

/** Watches the container again, or records its end. Never rejects. */
async function connect(container: Container, parts: RecoverContainerParts): Promise<void> {
  const monitor = await findMonitor(container, parts);
  if (monitor === undefined) return guarded(container, parts, () => settleWithoutMonitor(container, parts));
  watchContainer(container, monitor, parts);
  await guarded(container, parts, async () => {
    const { restoredFrom, startedAtNs } = container.record;
    if (restoredFrom !== undefined && startedAtNs === undefined)
      await takeRestored(container, monitor, parts);
    await recordStart(container, monitor, parts);
  });
}

const firstRetryMs = 500;
const longestRetryMs = 30_000;

/** Undefined when there is none. One that cannot be reached for another reason is there, and so is its container. */
async function findMonitor({ id }: Container, parts: RecoverContainerParts): Promise<Monitor | undefined> {
  for (let waitMs = firstRetryMs; ; waitMs = Math.min(waitMs * 2, longestRetryMs)) {
    try {
      return await connectMonitor(parts.paths.containerDir(id));
    } catch (error) {
      if (hasCode(error, "not-found")) return undefined;
      parts.log.warn("monitor cannot be reached", { id, error: messageOf(error) });
      await delay(waitMs);
    }
  }
}

/**
 * Nothing has been restored, or only in part when the daemon died: its monitor then gave up, and the next start begins
 * anew.
 */
async function stillWaits(container: Container, parts: RecoverContainerParts): Promise<boolean> {
  const directory = parts.paths.containerDir(container.id);
  if (existsSync(parts.paths.containerMonitorSocket(container.id)) || readExitFile(directory) !== undefined)
    return false;
  await parts.cgroups.kill(container.record.cgroupPath);
  return true;
}

/** The daemon died between the restore and recording all of it: the processes run, there is no gate before them. */
async function takeRestored(
  container: Container,
  monitor: Monitor,
  { store }: RecoverContainerParts,
): Promise<void> {
  store.update(container, { init: { pid: monitor.initPid, startTimeTicks: monitor.initStartTime } });
  if (!monitor.started) await monitor.start();
}

/** The daemon may have died between the start and recording that it did. */
async function recordStart(
  container: Container,
  monitor: Monitor,
  { runtimes, store }: RecoverContainerParts,
): Promise<void> {
  if (container.record.startedAtNs !== undefined) return;
  const hasStarted = await runtimes.of(container.record).hasStarted(container, monitor);
  // It may have ended meanwhile.
  const { startedAtNs, end } = container.record;
  if (hasStarted && startedAtNs === undefined)
    store.update(container, { startedAtNs: end?.finishedAtNs ?? nowNs() });
}

/**
 * Whatever goes wrong with one container, a full disk above all, the daemon starts: without it nobody could remove what
 * fills the disk.
 */
async function guarded(
  { id }: Container,
  { log }: RecoverContainerParts,
  step: () => void | Promise<void>,
): Promise<void> {
  try {
    await step();
  } catch (error) {
    log.error("container not recovered in full", { id, error: messageOf(error) });
  }
}

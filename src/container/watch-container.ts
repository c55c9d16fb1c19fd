// Learns of the end of a container: from its monitor, which says so the moment it happens, or from the exit file.
import type { Log } from "../base/log.ts";
import { messageOf } from "../base/errors.ts";
import type { CgroupManager } from "../linux/cgroup/cgroup-manager.ts";
import { type ExitRecord, readExitFile } from "../linux/exit-file.ts";
import { reapSoon } from "../linux/reap.ts";
import type { Monitor } from "../linux/monitor.ts";
import type { Paths } from "../config/paths.ts";
import type { Container, ContainerStore } from "./container-store.ts";
import { endOfExit, recordEnd, unknownEnd } from "./record-end.ts";

export interface WatchParts {
  store: ContainerStore;
  cgroups: CgroupManager;
  paths: Paths;
  log: Log;
}

/** Takes the connection over and records the end when it comes. */
export function watchContainer(container: Container, monitor: Monitor, parts: WatchParts): void {
  container.monitor = monitor;
  const finish = async (): Promise<void> => {
    const exit = await monitor.onExit;
    if (exit.lost !== true) return recordEnd(container, endOfExit(exit, container.wasKilled), parts.store);
    parts.log.warn("monitor lost", { id: container.id });
    await settleWithoutMonitor(container, parts);
  };
  finish().catch((error: unknown) => {
    parts.log.error("container end not recorded", { id: container.id, error: messageOf(error) });
  });
}

/**
 * The monitor is gone: its exit file has the end; without one the container is killed, because a container whose
 * output and status nobody holds must not go on as if it were well.
 */
export async function settleWithoutMonitor(container: Container, parts: WatchParts): Promise<void> {
  const exit = tryReadExit(container, parts);
  if (exit !== undefined) return recordEnd(container, endOfExit(exit, container.wasKilled), parts.store);
  await parts.cgroups.kill(container.record.cgroupPath);
  // The daemon is the subreaper: with the monitor gone, init is its child.
  const { init } = container.record;
  if (init !== undefined) reapSoon(init.pid);
  recordEnd(container, unknownEnd(), parts.store);
}

// One that cannot be read tells no more than one that is not there, and the container has to end.
function tryReadExit({ id }: Container, { paths, log }: WatchParts): ExitRecord | undefined {
  try {
    return readExitFile(paths.containerDir(id));
  } catch (error) {
    log.warn("exit file cannot be read", { id, error: messageOf(error) });
    return undefined;
  }
}

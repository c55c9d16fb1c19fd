// ReopenContainerLog: the kubelet has renamed the log file and wants a new one under the old path.
import { failedPrecondition, wrapError } from "../base/errors.ts";
import type { ContainerStore } from "./container-store.ts";

/**
 * @throws CricketError failed-precondition when the container does not run (CRI: "must return an error"); the
 * kubelet then renames the file back, so no new file may have been made
 */
export async function reopenLog(id: string, store: ContainerStore): Promise<void> {
  const container = store.get(id);
  if (container.state !== "running" || container.monitor === undefined)
    throw failedPrecondition(`container ${container.id} is ${container.state}, its log cannot be reopened`);
  try {
    await container.monitor.reopenLog();
  } catch (error) {
    throw wrapError(`reopen log of container ${container.id}`, error);
  }
}

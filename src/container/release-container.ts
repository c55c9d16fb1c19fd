// Gives back what a container holds. One function for RemoveContainer, for the unwinding of a failed CreateContainer
// and for recovery: everything is found by the container's id, every step is idempotent, all steps run.
import { lstatSync, unlinkSync } from "node:fs";
import { CricketError, errnoOf, messageOf } from "../base/errors.ts";
import type { CgroupManager } from "../linux/cgroup/cgroup-manager.ts";
import type { Paths } from "../config/paths.ts";
import { removeContainerLayer } from "../snapshot/container-layer.ts";
import type { ContainerRecord } from "./container-record.ts";
import type { ContainerRuntimes } from "./container-runtime.ts";

export interface ReleaseContainerParts {
  paths: Paths;
  cgroups: CgroupManager;
  runtimes: ContainerRuntimes;
}

export async function releaseContainer(record: ContainerRecord, parts: ReleaseContainerParts): Promise<void> {
  const failures: Error[] = [];
  const attempt = async (what: string, step: () => void | Promise<void>): Promise<void> => {
    try {
      await step();
    } catch (error) {
      failures.push(new CricketError("internal", `${what}: ${messageOf(error)}`, { cause: error }));
    }
  };
  await attempt("kill processes", async () => {
    await parts.cgroups.kill(record.cgroupPath);
  });
  await attempt("release by its runtime", () => parts.runtimes.of(record).release(record));
  await attempt("remove cgroup", () => parts.cgroups.remove(record.cgroupPath));
  await attempt("remove layer", () => removeContainerLayer(parts.paths.containerLayersRoot, record.id));
  if (!record.committed) await attempt("remove log", () => removeEmptyLog(record.logPath));
  if (failures.length > 0) {
    const list = failures.map((failure) => failure.message).join("; ");
    throw new CricketError("internal", `release container ${record.id}: ${list}`, { cause: failures[0] });
  }
}

/**
 * The log of a container that never came to be. Without a status to go by, the kubelet counts restarts by the names of
 * the files in the log directory: each failed creation would look like one.
 */
function removeEmptyLog(path: string): void {
  if (path === "") return;
  try {
    const { size } = lstatSync(path);
    if (size === 0) unlinkSync(path);
  } catch (error) {
    if (!["ENOENT", "ENOTDIR"].includes(errnoOf(error) ?? "")) throw error;
  }
}

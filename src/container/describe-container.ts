// What verbose statuses, `cricket inspect` and `cricket explain` show of a container beyond the CRI's own fields.
import type { Paths } from "../config/paths.ts";
import { messageOf } from "../base/errors.ts";
import type { CgroupManager } from "../linux/cgroup/cgroup-manager.ts";
import type { LinuxResources } from "../sandbox/sandbox-config.ts";
import { loadBundle } from "./bundle.ts";
import type { ContainerRuntimes } from "./container-runtime.ts";
import type { Container } from "./container-store.ts";

export function describeContainer(container: Container, paths: Paths): object {
  const { record } = container;
  return {
    sandboxID: record.sandboxId,
    pid: container.state === "exited" ? 0 : (record.init?.pid ?? 0),
    cgroupPath: record.cgroupPath,
    runtimeHandler: record.runtimeHandler ?? "",
    snapshotter: "overlay",
    writableLayer: paths.containerLayerDir(record.id),
    runDirectory: paths.containerDir(record.id),
    stopSignal: record.stopSignal,
    // CRI-O's names.
    restored: record.restoredFrom !== undefined,
    ...(record.restoredFrom === undefined ? {} : { checkpointedAt: record.restoredFrom.checkpointedAt }),
    runtimeSpec: specOrReason(container, paths),
  };
}

function specOrReason(container: Container, paths: Paths): object {
  try {
    return loadBundle(container, paths).spec;
  } catch (error) {
    return { unavailable: messageOf(error) };
  }
}

/** The limits as the kernel has them now: the kubelet compares them with what it asked for. */
export function liveResources(container: Container, cgroups: CgroupManager): LinuxResources {
  const { record } = container;
  if (container.state === "exited") return record.resources;
  const { oomScoreAdj, unified } = record.resources;
  return { ...cgroups.readResources(record.cgroupPath, record.resources), oomScoreAdj, unified };
}

/** How the container was launched, one numbered step after the other, with the reason for each. */
export function explainContainer(container: Container, runtimes: ContainerRuntimes): string {
  return runtimes.of(container.record).explain(container);
}

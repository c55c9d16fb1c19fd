// UpdateContainerResources: changes the limits of a live container.
import type { Log } from "../base/log.ts";
import type { KeyedLock } from "../base/keyed-lock.ts";
import { failedPrecondition, wrapError } from "../base/errors.ts";
import type { CgroupManager } from "../linux/cgroup/cgroup-manager.ts";
import type { LinuxResources } from "../sandbox/sandbox-config.ts";
import type { ContainerParticipant, ResourceChange } from "./container-participant.ts";
import type { ContainerRuntimes } from "./container-runtime.ts";
import type { Container, ContainerStore } from "./container-store.ts";
import { setOomScore } from "./oom-score.ts";

export interface UpdateParts {
  store: ContainerStore;
  runtimes: ContainerRuntimes;
  locks: KeyedLock;
  cgroups: Pick<CgroupManager, "pids">;
  log: Log;
}

/** Fields that are 0 or "" keep their value (CRI: "only the set fields are changed"). */
export async function updateResources(
  id: string,
  change: LinuxResources,
  parts: UpdateParts & { participant: ContainerParticipant },
): Promise<void> {
  const container = parts.store.get(id);
  const { participant } = parts;
  // Not under the lock: a participant may itself ask for an update of the container.
  await applyUpdate(id, (await participant.adjustUpdate(container, change)) ?? { resources: change }, parts);
  participant.afterUpdate(container);
}

/** The update itself, without asking anybody. */
export async function applyUpdate(
  id: string,
  { resources: change, more = {} }: ResourceChange,
  parts: UpdateParts,
): Promise<void> {
  const container = parts.store.get(id);
  await parts.locks.run(container.id, async () => {
    if (container.state === "exited") throw failedPrecondition(`container ${container.id} has exited`);
    const before = container.record.resources;
    const resources = mergeResources(before, change);
    try {
      await parts.runtimes.of(container.record).update(container, resources, more);
      if (resources.oomScoreAdj !== before.oomScoreAdj)
        updateOomScore(container, resources.oomScoreAdj, parts);
    } catch (error) {
      throw wrapError(`update resources of container ${container.id}`, error);
    }
    parts.store.update(container, { resources });
  });
}

// An OCI runtime's `update` has no such thing either.
function updateOomScore({ id, record }: Container, score: number, { cgroups, log }: UpdateParts): void {
  if (!setOomScore(() => cgroups.pids(record.cgroupPath), score))
    log.warn("oom_score_adj not lowered: CAP_SYS_RESOURCE is missing", { id, score });
}

export function mergeResources(now: LinuxResources, change: LinuxResources): LinuxResources {
  return {
    cpuPeriod: change.cpuPeriod || now.cpuPeriod,
    cpuQuota: change.cpuQuota || now.cpuQuota,
    cpuShares: change.cpuShares || now.cpuShares,
    memoryLimitBytes: change.memoryLimitBytes || now.memoryLimitBytes,
    // With a new memory limit alone the old sum of memory and swap means nothing: 0 keeps the allowance there is.
    memorySwapLimitBytes:
      change.memoryLimitBytes === 0n
        ? change.memorySwapLimitBytes || now.memorySwapLimitBytes
        : change.memorySwapLimitBytes,
    oomScoreAdj: change.oomScoreAdj || now.oomScoreAdj,
    cpusetCpus: change.cpusetCpus || now.cpusetCpus,
    cpusetMems: change.cpusetMems || now.cpusetMems,
    hugepageLimits: change.hugepageLimits.length > 0 ? change.hugepageLimits : now.hugepageLimits,
    unified: { ...now.unified, ...change.unified },
  };
}

// UpdatePodSandboxResources: what the pod as a whole may use from now on.
import { failedPrecondition, wrapError } from "../base/errors.ts";
import type { KeyedLock } from "../base/keyed-lock.ts";
import type { CgroupManager } from "../linux/cgroup/cgroup-manager.ts";
import type { CgroupResources } from "../linux/cgroup/cgroup-resources.ts";
import type { LinuxResources } from "./sandbox-config.ts";
import type { SandboxParticipant } from "./sandbox-participant.ts";
import type { SandboxStore } from "./sandbox-store.ts";

export interface UpdateSandboxParts {
  store: SandboxStore;
  cgroups: CgroupManager;
  locks: KeyedLock;
  participant: SandboxParticipant;
}

export interface PodResources {
  /** Sum over the pod's containers. */
  resources?: LinuxResources;
  /** What the sandbox itself takes beside them. */
  overhead?: LinuxResources;
}

/**
 * Records the new values. A pod cgroup that cricket made gets them as limits; one that the caller named
 * (cgroup_parent) belongs to the caller, and the kubelet has set it before it calls.
 * @throws CricketError not-found; failed-precondition for a sandbox that is not ready
 */
export async function updateSandboxResources(
  id: string,
  change: PodResources,
  parts: UpdateSandboxParts,
): Promise<void> {
  const sandbox = parts.store.get(id);
  await parts.participant.beforeUpdate(sandbox, change);
  await parts.locks.run(sandbox.id, async () => {
    if (!sandbox.isReady) throw failedPrecondition(`sandbox ${sandbox.id} is not ready`);
    const { record } = sandbox;
    if (record.ownsCgroup) {
      const { resources, overhead } = { ...record.config, ...record, ...change };
      try {
        await parts.cgroups.updateResources(record.cgroupPath, sumOf(resources, overhead));
      } catch (error) {
        throw wrapError(`update resources of sandbox ${sandbox.id}`, error);
      }
    }
    parts.store.update(sandbox, change);
  });
  parts.participant.afterUpdate(sandbox);
}

/** Containers and overhead together; a limit that one of them lacks cannot hold for both. */
export function sumOf(
  resources: LinuxResources | undefined,
  overhead: LinuxResources | undefined,
): CgroupResources {
  if (resources === undefined || overhead === undefined) return withoutUnified(resources ?? overhead);
  const sum = withoutUnified(resources);
  // Shares are weights and not limits: those of the overhead count also where the containers have none, and v.v.
  sum.cpuShares = resources.cpuShares + overhead.cpuShares;
  sum.memoryLimitBytes = plus(resources.memoryLimitBytes, overhead.memoryLimitBytes);
  sum.memorySwapLimitBytes = plus(resources.memorySwapLimitBytes, overhead.memoryLimitBytes);
  // A quota means something only with its period: the overhead's is converted to the containers'.
  if (resources.cpuQuota > 0n && overhead.cpuQuota > 0n) {
    const period = resources.cpuPeriod || defaultPeriodUs;
    const ofOverhead = (overhead.cpuQuota * period) / (overhead.cpuPeriod || defaultPeriodUs);
    sum.cpuQuota = resources.cpuQuota + ofOverhead;
  }
  return sum;
}

/** sched-bwc: what the kernel begins with. */
const defaultPeriodUs = 100_000n;

// Nothing of the pod is known to fit the values meant for one container's files.
function withoutUnified(resources: LinuxResources | undefined): CgroupResources {
  if (resources === undefined) return {};
  const { cpuPeriod, cpuQuota, cpuShares, memoryLimitBytes, memorySwapLimitBytes } = resources;
  const { cpusetCpus, cpusetMems, hugepageLimits } = resources;
  return {
    cpuPeriod,
    cpuQuota,
    cpuShares,
    memoryLimitBytes,
    memorySwapLimitBytes,
    cpusetCpus,
    cpusetMems,
    hugepageLimits,
  };
}

// 0 is "not set" and -1 "no limit": neither can be added to.
function plus(limit: bigint, more: bigint): bigint {
  return limit > 0n && more > 0n ? limit + more : limit;
}

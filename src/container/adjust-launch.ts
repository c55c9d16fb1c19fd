// Asks everybody who may change a launch, one after the other, and applies what they say.
import { invalidArgument } from "../base/errors.ts";
import type { CgroupManager } from "../linux/cgroup/cgroup-manager.ts";
import type { CgroupResources } from "../linux/cgroup/cgroup-resources.ts";
import { parseSpec, stringifySpec } from "../oci/parse-spec.ts";
import { cgroupResourcesOf } from "../oci/runtime/cgroup-limits.ts";
import type { Spec } from "../oci/spec.ts";
import type { LinuxResources } from "../sandbox/sandbox-config.ts";
import type { Sandbox } from "../sandbox/sandbox-store.ts";
import { applyAdjustment } from "./apply-adjustment.ts";
import type { GrantedDevice } from "./build-devices.ts";
import type { ContainerSpec } from "./build-spec.ts";
import type { LaunchAdjuster } from "./container-participant.ts";
import type { ContainerRecord } from "./container-record.ts";
import type { Container, ContainerStore } from "./container-store.ts";

export interface AdjustRequest {
  container: Container;
  sandbox: Sandbox;
  parts: { store: ContainerStore; cgroups: CgroupManager; adjusters: readonly LaunchAdjuster[] };
}

export interface AdjustedSpec extends ContainerSpec {
  /** What the cgroup is to get in place of the config's resources. */
  limits: CgroupResources;
  /** What was granted beyond the config's devices. */
  devices: readonly GrantedDevice[];
}

/**
 * Undefined when nobody changed anything. The record follows, before anything is made by it: it says which cgroup and
 * groups of resctrl are to be removed, and which limits a later update begins with.
 * @throws CricketError of whoever refuses; invalid-argument naming what the adjusted spec has wrong
 */
export async function adjustLaunch(
  { container, sandbox, parts }: AdjustRequest,
  built: ContainerSpec,
): Promise<AdjustedSpec | undefined> {
  let current = built;
  const devices: GrantedDevice[] = [];
  for (const adjuster of parts.adjusters) {
    const asked = adjuster.adjustLaunch({ container, sandbox, spec: current.spec });
    if (asked === undefined) continue;
    for (const adjustment of await asked) {
      current = applyAdjustment(current, adjustment);
      devices.push(...(adjustment.devices ?? []).flatMap(({ device }) => device ?? []));
    }
  }
  if (current === built) return undefined;
  // Names of namespaces, actions of seccomp and the like have come from outside.
  const spec = parseSpec(stringifySpec(current.spec));
  const limits = cgroupResourcesOf(spec.linux?.resources ?? {});
  const cgroupPath = spec.linux?.cgroupsPath ?? container.record.cgroupPath;
  // All that is in a container's cgroup is killed with it: it must not be anybody else's.
  if (cgroupPath !== container.record.cgroupPath && parts.cgroups.exists(cgroupPath))
    throw invalidArgument(`adjustment: cgroup ${cgroupPath} exists already`);
  parts.store.update(container, { resources: resourcesOf(spec, limits), cgroupPath, ...rdtOf(spec) });
  return { spec, env: current.env, limits, devices };
}

function rdtOf({ linux }: Spec): Pick<ContainerRecord, "intelRdt"> {
  return linux?.intelRdt === undefined ? {} : { intelRdt: linux.intelRdt };
}

/** What the CRI knows of the limits; 0 and "" where nothing is set. */
function resourcesOf(spec: Spec, limits: CgroupResources): LinuxResources {
  const scalars = {
    cpuPeriod: 0n,
    cpuQuota: 0n,
    cpuShares: 0n,
    memoryLimitBytes: 0n,
    memorySwapLimitBytes: 0n,
    cpusetCpus: "",
    cpusetMems: "",
  };
  const set = Object.entries(limits).filter(([name]) => Object.hasOwn(scalars, name));
  return {
    ...scalars,
    ...Object.fromEntries(set),
    oomScoreAdj: spec.process?.oomScoreAdj ?? 0,
    hugepageLimits: [...(limits.hugepageLimits ?? [])],
    unified: { ...limits.unified },
  };
}

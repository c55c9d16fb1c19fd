// The spec of a container as another OCI runtime takes it: nothing in it means something to cricket alone.
import { invalidArgument } from "../base/errors.ts";
import type { RootfsPropagation } from "../oci/linux-spec.ts";
import type { Spec } from "../oci/spec.ts";
import type { LinuxResources } from "../sandbox/sandbox-config.ts";
import { buildCpu, buildMemory, type ContainerSpec } from "./build-spec.ts";
import { needsRawEnv } from "./bundle.ts";

/** What older runtimes still take: crun refused everything but 1.0 until 1.9. */
const oldestVersion = "1.0.2";

export interface ExternalFacts {
  /** Where the rootfs is mounted on the host. */
  rootfs: string;
  /** Where image volumes are mounted there, by their place in the container. */
  volumes: ReadonlyMap<string, string>;
  /** The lowest score this process may give; undefined where it may give any. */
  lowestOomScoreAdj: number | undefined;
  /** Whether the runtime finds the hugetlb controller: beside v1 hierarchies it does not look into the unified one. */
  limitsHugepages: boolean;
  /** linux.cgroupsPath where it is not the cgroup's own: systemd's form. */
  cgroupsPath?: string;
}

/** @throws CricketError invalid-argument for what a config.json cannot hold */
export function externalSpec({ spec, env }: ContainerSpec, facts: ExternalFacts): Spec {
  // The embedded runtime has the bytes beside the file; another one reads JSON and nothing else.
  if (needsRawEnv(env))
    throw invalidArgument("config.envs: a value is not UTF-8, which the pod's runtime handler cannot take");
  return {
    ...spec,
    ociVersion: oldestVersion,
    root: { ...spec.root, path: facts.rootfs },
    ...withScore(spec, facts.lowestOomScoreAdj),
    mounts: (spec.mounts ?? []).map((mount) => {
      const source = facts.volumes.get(mount.destination);
      return source === undefined ? mount : { ...mount, source };
    }),
    linux: {
      ...spec.linux,
      ...(facts.limitsHugepages ? {} : withoutZeroHugepages(spec)),
      ...(facts.cgroupsPath === undefined ? {} : { cgroupsPath: facts.cgroupsPath }),
      ...propagationOf(spec),
    },
  };
}

/** A nested runtime may not lower it, and no pod fails for that; another runtime would. */
function withScore({ process }: Spec, lowest: number | undefined): Pick<Spec, "process"> {
  if (process?.oomScoreAdj === undefined || lowest === undefined)
    return process === undefined ? {} : { process };
  return { process: { ...process, oomScoreAdj: Math.max(process.oomScoreAdj, lowest) } };
}

/**
 * The kubelet limits every page size there is, most often to 0, also on a node that has no controller for it; runc then
 * fails the container. What cannot be had without a limit of 0 is left to fail.
 */
function withoutZeroHugepages({ linux }: Spec): Pick<NonNullable<Spec["linux"]>, "resources"> {
  const { hugepageLimits, ...resources } = linux?.resources ?? {};
  const kept = hugepageLimits?.filter(({ limit }) => limit > 0) ?? [];
  return { resources: { ...resources, ...(kept.length === 0 ? {} : { hugepageLimits: kept }) } };
}

/**
 * A mount can propagate only as far as the tree it is in. Runtimes make that a slave of the host's unless they are told
 * otherwise (runc's and crun's default), which keeps a shared mount from reaching the host.
 */
function propagationOf({ mounts = [] }: Spec): { rootfsPropagation?: RootfsPropagation } {
  const has = (option: string): boolean => mounts.some(({ options = [] }) => options.includes(option));
  if (has("rshared")) return { rootfsPropagation: "shared" };
  return has("rslave") ? { rootfsPropagation: "slave" } : {};
}

/** For `update --resources`: LinuxResources of the runtime-spec. */
export function externalResources(resources: LinuxResources): object {
  return {
    ...buildMemory(resources),
    ...buildCpu(resources),
    ...(Object.keys(resources.unified).length === 0 ? {} : { unified: resources.unified }),
  };
}

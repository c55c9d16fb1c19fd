// Where the cgroup controllers of this machine are: in v1 hierarchies, in the unified (v2) one, or in both.
import { failedPrecondition } from "../../base/errors.ts";
import { readMountinfo, type MountEntry } from "../mountinfo.ts";
import { readCgroupFile } from "./cgroup-file.ts";

export interface Hierarchy {
  version: 1 | 2;
  /** Mount point. */
  root: string;
  /** Several in one v1 hierarchy are co-mounted: "cpu,cpuacct". */
  controllers: readonly string[];
}

export interface CgroupLayout {
  /** "hybrid": controllers in v1, and a v2 hierarchy beside them that tracks processes. */
  kind: "v1" | "hybrid" | "v2";
  /** v1 hierarchies that have a controller. */
  v1: readonly Hierarchy[];
  /**
   * Mount points of v1 hierarchies without one (name=systemd). They belong to the machine's init, and nothing is made
   * in them here; other OCI runtimes do make their cgroups there too, with all that is above.
   */
  named?: readonly string[];
  unified: Hierarchy | undefined;
}

const v1Controllers = new Set(
  "blkio cpu cpuacct cpuset devices freezer hugetlb memory misc net_cls net_prio perf_event pids rdma".split(
    " ",
  ),
);

/** Finds the hierarchies among the mounts. Throws failed-precondition when there is none. */
export function detectCgroupLayout(
  mounts: readonly MountEntry[] = readMountinfo(),
  read: (file: string) => string | undefined = readCgroupFile,
): CgroupLayout {
  const v1 = new Map<string, Hierarchy>();
  const named: string[] = [];
  for (const mount of mounts.filter((entry) => entry.filesystemType === "cgroup")) {
    const controllers = mount.superOptions.filter((option) => v1Controllers.has(option)).sort();
    const key = controllers.join();
    // The same hierarchy can be mounted again, as seen from another root; the first mount is the usual one.
    if (key === "") named.push(mount.mountPoint);
    else if (!v1.has(key)) v1.set(key, { version: 1, root: mount.mountPoint, controllers });
  }
  const unifiedMount = mounts.find((entry) => entry.filesystemType === "cgroup2");
  const unified: Hierarchy | undefined = unifiedMount && {
    version: 2,
    root: unifiedMount.mountPoint,
    controllers: words(read(`${unifiedMount.mountPoint}/cgroup.controllers`)),
  };
  if (v1.size === 0 && unified === undefined)
    throw failedPrecondition("no cgroup hierarchy is mounted (expected below /sys/fs/cgroup)");
  const kind = v1.size === 0 ? "v2" : unified === undefined ? "v1" : "hybrid";
  return { kind, v1: [...v1.values()], named, unified };
}

/** The hierarchy that has a controller, by its name there ("io" in v2 is "blkio" in v1). */
export function hierarchyOf(layout: CgroupLayout, controller: string): Hierarchy | undefined {
  return (
    layout.v1.find((hierarchy) => hierarchy.controllers.includes(controller)) ??
    (layout.unified?.controllers.includes(controller) === true ? layout.unified : undefined)
  );
}

/** All hierarchies a cgroup has a directory in. */
export function allHierarchies(layout: CgroupLayout): readonly Hierarchy[] {
  return layout.unified === undefined ? layout.v1 : [...layout.v1, layout.unified];
}

/** Mount points of all hierarchies in which something of a cgroup may be left. */
export function allRoots(layout: CgroupLayout): readonly string[] {
  return [...allHierarchies(layout).map(({ root }) => root), ...(layout.named ?? [])];
}

/** The one hierarchy that is asked which processes a cgroup has. */
export function trackingHierarchy(layout: CgroupLayout): Hierarchy {
  const hierarchy =
    layout.unified ?? hierarchyOf(layout, "freezer") ?? hierarchyOf(layout, "pids") ?? layout.v1[0];
  if (hierarchy === undefined) throw failedPrecondition("no cgroup hierarchy is mounted");
  return hierarchy;
}

/** Splits a kernel list of words; none for undefined. */
export function words(text: string | undefined): string[] {
  return text?.split(/\s+/).filter((word) => word !== "") ?? [];
}

// Namespaces of a container: which are new, which are joined, and who does it when.
//
// The parent joins or makes what takes effect for children only (pid, time); the fork makes the rest at no further
// cost; what depends on the child's own state (cgroup namespace: its cgroup) follows after the fork.
import { CricketError, invalidArgument } from "../base/errors.ts";
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWTIME,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
  type IdMaps,
  type Step,
} from "../linux/launch-program.ts";
import type { ContainerLaunch, NamespaceJoin } from "./container-launch.ts";
import type { IdMapping, Linux, Namespace, NamespaceType } from "./linux-spec.ts";

const cloneFlags: Record<NamespaceType, number> = {
  pid: CLONE_NEWPID,
  network: CLONE_NEWNET,
  mount: CLONE_NEWNS,
  ipc: CLONE_NEWIPC,
  uts: CLONE_NEWUTS,
  user: CLONE_NEWUSER,
  cgroup: CLONE_NEWCGROUP,
  time: CLONE_NEWTIME,
};

/** CLONE_NEW* bits of several types. */
export function namespaceMask(types: readonly NamespaceType[]): number {
  return types.reduce((mask, type) => mask | cloneFlags[type], 0);
}

const source = "OCI runtime-spec config-linux.md#namespaces";

/** Types that spec.linux.namespaces lists, new or joined. */
export function isolatedTypes(linux: Linux | undefined): ReadonlySet<NamespaceType> {
  return new Set((linux?.namespaces ?? []).map(({ type }) => type));
}

/** The steps of the parent, before the fork. */
export function compileParentNamespaces(launch: ContainerLaunch): Step[] {
  const linux = launch.spec.linux ?? {};
  const steps: Step[] = [];
  for (const { fd, types } of launch.join)
    if (types.includes("pid"))
      steps.push({
        op: "joinNamespaces",
        fd,
        mask: CLONE_NEWPID,
        because: { why: "a pid namespace is entered by children only, so the parent names it", source },
      });
  if (isNew(linux, "time")) steps.push(...compileTimeNamespace(linux));
  return steps;
}

function compileTimeNamespace(linux: Linux): Step[] {
  const steps: Step[] = [
    {
      op: "unshare",
      flags: CLONE_NEWTIME,
      because: { why: "a new time namespace is entered by children only", source },
    },
  ];
  const lines = Object.entries(linux.timeOffsets ?? {}).map(
    ([clock, { secs = 0n, nanosecs = 0 }]) => `${clock} ${secs} ${nanosecs}\n`,
  );
  if (lines.length > 0)
    steps.push({
      op: "writeProc",
      path: "/proc/self/timens_offsets",
      value: lines.join(""),
      because: {
        why: "clock offsets are fixed once a process is in the namespace",
        source: "OCI runtime-spec config-linux.md#offset-for-time-namespace",
      },
    });
  return steps;
}

/** The fork itself, with the namespaces it makes. */
export function compileFork(launch: ContainerLaunch): Step {
  const linux = launch.spec.linux ?? {};
  assertPossible(linux, launch.join);
  const flags = namespaceMask(newTypes(linux).filter((type) => type !== "cgroup" && type !== "time"));
  // Under a joined user namespace the others must be made after it was entered, or the host would own them.
  const own = joins(launch.join, "user") ? 0 : flags;
  const { directory } = launch.cgroup;
  return {
    op: "fork",
    flags: own,
    ...(directory === undefined ? {} : { cgroup: directory }),
    ...(isNew(linux, "user") ? { idMaps: idMaps(linux) } : {}),
    because: {
      why:
        directory === undefined
          ? "the container's first process, with its new namespaces"
          : "the container's first process, with its new namespaces, already in its cgroup",
      source,
    },
  };
}

/** The steps of the child: what it joins, and what it makes after that. */
export function compileChildNamespaces(launch: ContainerLaunch): Step[] {
  const linux = launch.spec.linux ?? {};
  const steps: Step[] = [];
  for (const { fd, types } of launch.join) {
    const mask = namespaceMask(types.filter((type) => type !== "pid"));
    if (mask === 0) continue;
    const names = types.filter((type) => type !== "pid").join(", ");
    steps.push({ op: "joinNamespaces", fd, mask, because: { why: `share ${names} with the pod`, source } });
  }
  const userIsJoined = joins(launch.join, "user");
  const late = newTypes(linux).filter((type) => type === "cgroup" || (userIsJoined && type !== "pid"));
  if (late.length > 0)
    steps.push({
      op: "unshare",
      flags: namespaceMask(late),
      because: { why: lateReason(late), source },
    });
  if (userIsJoined) steps.push(...becomeNamespaceRoot());
  if (userIsJoined && isNew(linux, "pid"))
    steps.push({
      op: "fork",
      flags: CLONE_NEWPID,
      because: {
        why: "a pid namespace that the user namespace owns, or its proc could not be mounted",
        source,
      },
    });
  return steps;
}

function lateReason(types: readonly NamespaceType[]): string {
  return types.length === 1
    ? "the cgroup namespace's root is the cgroup the process is in, so it comes after the join"
    : "made inside the user namespace, so that it owns them";
}

// With a new user namespace the fork does this by itself. Files and terminals made by a process whose ids the user namespace does not map would belong to nobody (EOVERFLOW).
export function becomeNamespaceRoot(): Step[] {
  const because = {
    why: "files of the set-up belong to the user namespace's root",
    source: "man 7 user_namespaces",
  };
  return [
    { op: "setGroups", groups: [], because },
    { op: "setIds", uid: 0, gid: 0, because },
  ];
}

function newTypes(linux: Linux): NamespaceType[] {
  return (linux.namespaces ?? []).filter(({ path }) => path === undefined).map(({ type }) => type);
}

function isNew(linux: Linux, type: NamespaceType): boolean {
  return newTypes(linux).includes(type);
}

function joins(list: readonly NamespaceJoin[], type: NamespaceType): boolean {
  return list.some(({ types }) => types.includes(type));
}

function idMaps(linux: Linux): IdMaps {
  return {
    uidMap: formatIdMap(linux.uidMappings ?? [], "linux.uidMappings"),
    gidMap: formatIdMap(linux.gidMappings ?? [], "linux.gidMappings"),
  };
}

/** Lines for /proc/<pid>/uid_map. */
export function formatIdMap(mappings: readonly IdMapping[], field: string): string {
  if (mappings.length === 0) throw invalidArgument(`${field} is empty: a new user namespace needs mappings`);
  return mappings.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`).join("");
}

function assertPossible(linux: Linux, list: readonly NamespaceJoin[]): void {
  const namespaces = linux.namespaces ?? [];
  if (!isNew(linux, "mount")) throw unimplemented("a container without a mount namespace of its own");
  for (const namespace of namespaces) assertGiven(namespace, list);
  for (const type of list.flatMap(({ types }) => types))
    if (!namespaces.some((namespace) => namespace.type === type && namespace.path !== undefined))
      throw new CricketError("internal", `a ${type} namespace is joined that linux.namespaces does not name`);
  if (isNew(linux, "user") && list.length > 0)
    throw unimplemented("joining namespaces by path together with a new user namespace");
}

function assertGiven(namespace: Namespace, list: readonly NamespaceJoin[]): void {
  if (namespace.path !== undefined && !joins(list, namespace.type))
    throw new CricketError("internal", `no descriptor for the ${namespace.type} namespace ${namespace.path}`);
}

function unimplemented(what: string): CricketError {
  return new CricketError("unimplemented", `linux.namespaces: ${what} is not implemented yet`);
}

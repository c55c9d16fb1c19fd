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
  for (const { fd, types } of launch.join) {
    const early = types.filter((type) => isJoinedEarly(linux, type));
    if (early.length === 0) continue;
    steps.push({
      op: "joinNamespaces",
      fd,
      mask: namespaceMask(early),
      because: { why: earlyReason(early), source },
    });
  }
  if (isNew(linux, "time")) steps.push(...compileTimeNamespace(linux));
  return steps;
}

// Inside a new user namespace there is no right to enter what does not belong to it.
function isJoinedEarly(linux: Linux, type: NamespaceType): boolean {
  return type === "pid" || isNew(linux, "user");
}

function earlyReason(types: readonly NamespaceType[]): string {
  return types.every((type) => type === "pid")
    ? "a pid namespace is entered by children only, so the parent names it"
    : `share ${types.join(", ")}, entered before the new user namespace takes the right to`;
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
  const isMadeLater = (type: NamespaceType): boolean =>
    type === "cgroup" || type === "time" || (type === "mount" && launch.emptyNamespace !== undefined);
  const flags = namespaceMask(newTypes(linux).filter((type) => !isMadeLater(type)));
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
    const late = types.filter((type) => !isJoinedEarly(linux, type));
    if (late.length === 0) continue;
    steps.push({
      op: "joinNamespaces",
      fd,
      mask: namespaceMask(late),
      because: { why: `share ${late.join(", ")} with the pod`, source },
    });
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

// With a new user namespace the fork does this by itself. Files and terminals made by a process whose ids the user
// namespace does not map would belong to nobody (EOVERFLOW).
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
  if (!isolatedTypes(linux).has("mount"))
    throw invalidArgument(
      "linux.namespaces has no mount namespace: the container's mounts would be the host's",
    );
  for (const namespace of namespaces) assertGiven(namespace, list);
  for (const type of list.flatMap(({ types }) => types))
    if (!namespaces.some((namespace) => namespace.type === type && namespace.path !== undefined))
      throw new CricketError("internal", `a ${type} namespace is joined that linux.namespaces does not name`);
  if (isNew(linux, "user") && joins(list, "mount"))
    throw invalidArgument(
      "linux.namespaces: a new user namespace has no right to mount in a mount namespace that it joins",
    );
  assertUserMappings(linux);
  assertTimeOffsets(linux);
}

function assertUserMappings(linux: Linux): void {
  for (const field of ["uidMappings", "gidMappings"] as const)
    if ((linux[field] ?? []).length > 0 && !isolatedTypes(linux).has("user"))
      throw invalidArgument(`linux.${field} is set, but linux.namespaces has no user namespace`);
}

// man 7 time_namespaces: other clocks have no offset.
const offsetClocks: ReadonlySet<string> = new Set(["monotonic", "boottime"]);

function assertTimeOffsets({ timeOffsets = {}, ...linux }: Linux): void {
  const clocks = Object.keys(timeOffsets);
  if (clocks.length > 0 && !isNew(linux, "time"))
    throw invalidArgument("linux.timeOffsets is set, but linux.namespaces makes no time namespace");
  const unknown = clocks.find((clock) => !offsetClocks.has(clock));
  if (unknown !== undefined)
    throw invalidArgument(`linux.timeOffsets has ${JSON.stringify(unknown)}: not monotonic or boottime`);
}

function assertGiven(namespace: Namespace, list: readonly NamespaceJoin[]): void {
  if (namespace.path !== undefined && !joins(list, namespace.type))
    throw new CricketError("internal", `no descriptor for the ${namespace.type} namespace ${namespace.path}`);
}

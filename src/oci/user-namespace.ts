// What a container's user namespace asks of its launch: everything that only the host's root can do comes before it is
// entered.
import { invalidArgument } from "../base/errors.ts";
import type { Step } from "../linux/launch-program.ts";
import type { ContainerLaunch } from "./container-launch.ts";
import type { IdMapping, Linux } from "./linux-spec.ts";
import type { Process, Spec } from "./spec.ts";

/** "new": the fork makes it; "joined": it is somebody else's. */
export function userNamespaceKind(linux: Linux | undefined): "none" | "new" | "joined" {
  const found = linux?.namespaces?.find(({ type }) => type === "user");
  if (found === undefined) return "none";
  return found.path === undefined ? "new" : "joined";
}

/** The id of the host behind an id of a namespace; undefined where it has none. */
export function hostIdOf(mappings: readonly IdMapping[], id: number): number | undefined {
  const mapping = mappings.find(({ containerID, size }) => id >= containerID && id - containerID < size);
  return mapping === undefined ? undefined : mapping.hostID + id - mapping.containerID;
}

export function sameMappings(a: readonly IdMapping[], b: readonly IdMapping[]): boolean {
  const text = (list: readonly IdMapping[]): string =>
    list.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}`).join();
  return text(a) === text(b);
}

const source = "man 7 user_namespaces";

/** The last steps with the privileges of the host. `opens`: what will be mounted. */
export function compileLeaveHost({ spec, rootfs }: ContainerLaunch, opens: readonly Step[]): Step[] {
  const { linux, process } = spec;
  const kind = userNamespaceKind(linux);
  if (kind === "none") return [];
  const directory: Step = {
    op: "hostDirectory",
    path: rootfs.target,
    because: { why: "the user namespace's root could not walk to it: it stays there from here on", source },
  };
  return [
    ...(kind === "joined" ? compileOwnStdio(linux, process) : []),
    ...opens,
    ...(staysInDirectory(linux) ? [directory] : []),
  ];
}

/** The place of the rootfs is the working directory. Joining a mount namespace would change that to its root. */
export function staysInDirectory(linux: Linux | undefined): boolean {
  const isNew = linux?.namespaces?.some(({ type, path }) => type === "mount" && path === undefined);
  return userNamespaceKind(linux) !== "none" && isNew === true;
}

/** For execs, too. Without mappings (a namespace of somebody else's, joined by path) there is nothing to say. */
export function compileOwnStdio(linux: Linux | undefined, process: Process | undefined): Step[] {
  const mappings = linux?.uidMappings ?? [];
  if (userNamespaceKind(linux) !== "joined" || mappings.length === 0) return [];
  const uid = hostIdOf(mappings, process?.user.uid ?? 0);
  if (uid === undefined) return [];
  return [
    {
      op: "ownStdio",
      uid,
      because: { why: "who opens /dev/stdout in a user namespace must own the pipe behind it", source },
    },
  ];
}

/**
 * The host's id of the user that owns the container's cgroup: only where the container can see no other cgroup, and may
 * write to its own (config-linux.md#cgroup-ownership).
 */
export function cgroupOwner({ linux, mounts = [], process }: Spec): number | undefined {
  const ownsNamespace = linux?.namespaces?.some(({ type, path }) => type === "cgroup" && path === undefined);
  const cgroups = mounts.filter(({ type }) => type === "cgroup" || type === "cgroup2");
  const isWritable = cgroups.length > 0 && cgroups.every(({ options = [] }) => !options.includes("ro"));
  if (userNamespaceKind(linux) === "none" || ownsNamespace !== true || !isWritable) return undefined;
  return hostIdOf(linux?.uidMappings ?? [], process?.user.uid ?? 0);
}

/** @throws CricketError invalid-argument for an id that the user namespace does not map: setresuid(2) says only EINVAL */
export function assertIdsMapped({ uidMappings = [], gidMappings = [] }: Linux, { user }: Process): void {
  const check = (mappings: readonly IdMapping[], id: number, field: string): void => {
    if (mappings.length > 0 && hostIdOf(mappings, id) === undefined)
      throw invalidArgument(`process.user.${field} is ${id}: not mapped in the container's user namespace`);
  };
  check(uidMappings, user.uid, "uid");
  check(gidMappings, user.gid, "gid");
  for (const id of user.additionalGids ?? []) check(gidMappings, id, "additionalGids");
}

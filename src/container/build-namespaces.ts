// Which namespaces a container has: its own, the pod's, another container's, or the host's.
import { invalidArgument } from "../base/errors.ts";
import type { Descriptor } from "../linux/launch-program.ts";
import type { NamespaceJoin } from "../oci/container-launch.ts";
import type { Namespace, NamespaceType } from "../oci/linux-spec.ts";
import type { Spec } from "../oci/spec.ts";
import type { ContainerSpecInput } from "./build-spec.ts";

// The name of the file in /proc/<pid>/ns.
const files: Partial<Record<NamespaceType, string>> = {
  network: "net",
  ipc: "ipc",
  uts: "uts",
  pid: "pid",
  user: "user",
};

/** A type that is left out is the host's. */
export function buildNamespaces({ config, sandbox, host }: ContainerSpecInput): Namespace[] {
  const { namespaces, privileged } = config.security;
  const joined = (type: NamespaceType, pid: number): Namespace => ({
    type,
    path: `/proc/${pid}/ns/${files[type]}`,
  });
  const list: Namespace[] = [{ type: "mount" }];
  if (namespaces.user?.mode === "pod") list.push(joined("user", sandbox.pausePid));
  // A pod in the host's network has the host's name, too.
  if (namespaces.network === "pod")
    list.push(joined("network", sandbox.pausePid), joined("uts", sandbox.pausePid));
  if (namespaces.ipc === "pod") list.push(joined("ipc", sandbox.pausePid));
  if (namespaces.pid === "container") list.push({ type: "pid" });
  if (namespaces.pid === "pod") list.push(joined("pid", sandbox.pausePid));
  if (namespaces.pid === "target") list.push(joined("pid", requireTarget(sandbox.targetPid)));
  // With v1 the container's own directories are bound one by one instead. Privileged containers see all cgroups, unless a
  // user namespace has to own what they mount.
  if (host.cgroupVersion === 2 && (!privileged || namespaces.user?.mode === "pod"))
    list.push({ type: "cgroup" });
  return list;
}

function requireTarget(pid: number | undefined): number {
  if (pid !== undefined) return pid;
  throw invalidArgument(
    "config.linux.security_context.namespace_options.target_id names no running container of the pod",
  );
}

/**
 * What compileContainer joins for a spec of buildContainerSpec: everything from pause, but for the pid namespace of a
 * target container.
 */
export function namespaceJoins(
  spec: Spec,
  pausePidfd: Descriptor,
  targetPidfd?: Descriptor,
): NamespaceJoin[] {
  const types = (spec.linux?.namespaces ?? [])
    .filter(({ path }) => path !== undefined)
    .map(({ type }) => type);
  if (targetPidfd === undefined) return types.length === 0 ? [] : [{ fd: pausePidfd, types }];
  return [
    { fd: targetPidfd, types: types.filter((type) => type === "pid") },
    { fd: pausePidfd, types: types.filter((type) => type !== "pid") },
  ].filter((join) => join.types.length > 0);
}

// Launches that begin in a copy of an empty mount namespace (src/linux/empty-namespace.ts) and not of the host's, which
// has some mounts for every pod of the node. What the container is to see of the host is opened before.
import { CLONE_NEWNS, type Descriptor, type Step } from "../linux/launch-program.ts";
import type { ContainerLaunch } from "./container-launch.ts";
import { wantsSharedMounts } from "./shared-mounts.ts";
import type { Hooks, Mount, Spec } from "./spec.ts";
import { userNamespaceKind } from "./user-namespace.ts";

/** Of one launch (pause/program.h), less what hierarchies of cgroup v1 and user namespaces of mounts take. */
const mostOpened = 200;
/** Descriptors that a launch may have open at once, with room for what is opened beside the mounts. */
const leastFileLimit = 1024n;

/** The launch's empty namespace, if nobody has to see the host's tree in the container's namespace while it is made. */
export function usableEmptyNamespace({
  spec,
  noPivot,
  emptyNamespace,
}: ContainerLaunch): Descriptor | undefined {
  // To be a peer of a mount of the host is left to the copy, and the root of a user namespace may not leave it.
  const isPlain = userNamespaceKind(spec.linux) === "none" && !wantsSharedMounts(spec) && noPivot !== true;
  if (!isPlain || !isMountNamespaceNew(spec) || haveHostPaths(spec.hooks)) return undefined;
  const { mounts = [] } = spec;
  const fits = mounts.length <= mostOpened && fileLimit(spec) >= leastFileLimit;
  return fits && mounts.every(isBoundOrVirtual) ? emptyNamespace : undefined;
}

// What is opened before stays open until it is mounted, and the container's limit holds by then; in a copy of the host's
// mounts one is opened after the other.
function fileLimit({ process }: Spec): bigint {
  return process?.rlimits?.find(({ type }) => type === "RLIMIT_NOFILE")?.soft ?? leastFileLimit;
}

function isMountNamespaceNew({ linux }: Spec): boolean {
  return linux?.namespaces?.some(({ type, path }) => type === "mount" && path === undefined) === true;
}

// They are found by paths of the host in the container's namespace, or enter it from outside and expect the host there.
function haveHostPaths({ prestart = [], createRuntime = [], createContainer = [] }: Hooks = {}): boolean {
  return prestart.length + createRuntime.length + createContainer.length > 0;
}

/** Filesystems without a device or directory of the host. */
const virtual: ReadonlySet<string | undefined> = new Set([
  "proc",
  "sysfs",
  "tmpfs",
  "ramfs",
  "devpts",
  "mqueue",
  "cgroup",
  "cgroup2",
  "bpf",
  "hugetlbfs",
]);

function isBoundOrVirtual({ type, options = [] }: Mount): boolean {
  const isBound = type === "bind" || options.includes("bind") || options.includes("rbind");
  return isBound || options.includes("remount") || virtual.has(type);
}

/** After everything that is opened by a path of the host. */
export function compileEmptyStart(emptyNamespace: Descriptor | undefined): Step[] {
  if (emptyNamespace === undefined) return [];
  const source = "man 7 mount_namespaces";
  return [
    {
      op: "joinNamespaces",
      fd: emptyNamespace,
      mask: CLONE_NEWNS,
      because: {
        why: "the host's mounts are left behind: to copy and remove them takes time for each",
        source,
      },
    },
    {
      op: "unshare",
      flags: CLONE_NEWNS,
      because: { why: "a mount namespace of its own, with nothing but an empty root in it", source },
    },
  ];
}

/** What is mounted over the empty root. */
export const coverEmptyRoot: Step = {
  op: "changeRoot",
  because: { why: "below it is only the empty root: there is nothing to leave", source: "man 2 chroot" },
};

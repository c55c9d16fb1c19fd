// Pod sandbox -> launch program of its pause process, which holds the pod's namespaces and nothing else.
import { CricketError } from "../base/errors.ts";
import {
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
  type Descriptor,
  type IdMaps,
  type LaunchProgram,
  type Step,
} from "../linux/launch-program.ts";
import { MS_REC, MS_SLAVE } from "../linux/mount.ts";
import { compileJoinCgroup, compileOomScore } from "./compile-limits.ts";
import { formatIdMap } from "./compile-namespaces.ts";
import type { CgroupJoin, RootfsPlace, SeccompFilter } from "./container-launch.ts";
import { compileEmptyStart, coverEmptyRoot } from "./empty-start.ts";
import type { IdMapping } from "./linux-spec.ts";
import { hostIdOf } from "./user-namespace.ts";

export interface SandboxLaunch {
  /** True: the pod has one of its own; false: it shares the host's. */
  namespaces: { network: boolean; ipc: boolean; pid: boolean; uts: boolean };
  /** A user namespace of the pod's own, which owns the others. */
  userMaps?: { uids: readonly IdMapping[]; gids: readonly IdMapping[] };
  hostname: string;
  /** Checked and resolved: `path` is below /proc/sys. `optional`: nobody asked for it, and the kernel may lack it. */
  sysctls: readonly { path: string; value: string; optional?: boolean }[];
  cgroup: CgroupJoin;
  /** The static pause program. */
  pause: Descriptor;
  /**
   * An empty mount that becomes pause's root. Needed with a pid namespace of the pod's own: its containers see pause as
   * process 1, and /proc/1/root must not be the host's root.
   */
  rootfs?: RootfsPlace;
  /** A mount namespace to begin in, instead of a copy of the host's; without a user namespace. */
  emptyNamespace?: Descriptor;
  seccomp?: SeccompFilter;
  /** SELinux; "" is none. */
  processLabel?: string;
}

// pause needs nothing; this is the id the field's pause images run as.
const pauseId = 65535;
/** Above every container of the pod: without pause there is no pod (cri-o#1975). */
const pauseOomScore = -998;

/** Where the user namespace has no such id: its root, who is nobody on the host. */
function pauseIdIn(mappings: readonly IdMapping[] | undefined): number {
  return mappings === undefined || hostIdOf(mappings, pauseId) !== undefined ? pauseId : 0;
}

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_ROUTE = 0;

/** The program for the spawn host: it reports pause's pid, and a route netlink socket of a new network namespace. */
export function compileSandbox(launch: SandboxLaunch): LaunchProgram {
  if (launch.namespaces.pid && launch.rootfs === undefined)
    throw new CricketError("internal", "a sandbox with a pid namespace needs a rootfs for pause");
  const inUserNamespace = launch.userMaps !== undefined;
  const oomScore = {
    ...compileOomScore(pauseOomScore),
    because: { why: "without pause there is no pod: it dies last" },
  };
  return {
    steps: [
      // What only the host's root can do comes before the fork that leaves its user namespace.
      ...(inUserNamespace ? [oomScore, ...compileDirectory(launch.rootfs)] : []),
      compileSandboxFork(launch),
      ...compileJoinCgroup(launch.cgroup),
      { op: "newSession", because: { why: "no terminal and no process group of the daemon's" } },
      ...(inUserNamespace ? [] : [oomScore]),
      ...compileSandboxHostname(launch),
      ...compileSandboxSysctls(launch),
      ...compileRouteSocket(launch),
      ...compileLabel(launch),
      ...compilePauseRoot(launch),
      ...compilePause(launch),
    ],
  };
}

function compileSandboxFork(launch: SandboxLaunch): Step {
  const { namespaces, userMaps, rootfs, cgroup } = launch;
  const { directory } = cgroup;
  const flags =
    (namespaces.network ? CLONE_NEWNET : 0) |
    (namespaces.ipc ? CLONE_NEWIPC : 0) |
    (namespaces.pid ? CLONE_NEWPID : 0) |
    (namespaces.uts ? CLONE_NEWUTS : 0) |
    (rootfs === undefined || beginsEmpty(launch) ? 0 : CLONE_NEWNS) |
    (userMaps === undefined ? 0 : CLONE_NEWUSER);
  return {
    op: "fork",
    flags,
    ...(directory === undefined ? {} : { cgroup: directory }),
    ...(userMaps === undefined ? {} : { idMaps: idMapsOf(userMaps) }),
    because: { why: "the namespaces of the pod, held by one process", source: "CRI NamespaceOption" },
  };
}

function compileSandboxHostname({ namespaces, hostname }: SandboxLaunch): Step[] {
  if (!namespaces.uts) return [];
  return [
    {
      op: "sethostname",
      name: hostname,
      because: { why: "one name for all containers of the pod", source: "CRI PodSandboxConfig.hostname" },
    },
  ];
}

function compileSandboxSysctls({ sysctls }: SandboxLaunch): Step[] {
  return sysctls.map(({ path, value, optional = false }): Step => ({
    op: "writeProc",
    path,
    value,
    optional,
    because: { why: "kernel parameter of the pod's namespaces", source: "CRI LinuxPodSandboxConfig.sysctls" },
  }));
}

function compileRouteSocket({ namespaces }: SandboxLaunch): Step[] {
  if (!namespaces.network) return [];
  return [
    {
      op: "sendSocket",
      domain: AF_NETLINK,
      type: SOCK_RAW,
      protocol: NETLINK_ROUTE,
      because: {
        why: "a socket stays in the namespace that made it: the daemon sets the network up through it",
      },
    },
  ];
}

function compileDirectory(rootfs: RootfsPlace | undefined): Step[] {
  if (rootfs === undefined) return [];
  return [
    {
      op: "hostDirectory",
      path: rootfs.target,
      because: { why: "the user namespace's root could not walk to it: it stays there from here on" },
    },
  ];
}

function idMapsOf({ uids, gids }: NonNullable<SandboxLaunch["userMaps"]>): IdMaps {
  const at = "userns_options";
  return { uidMap: formatIdMap(uids, `${at}.uids`), gidMap: formatIdMap(gids, `${at}.gids`) };
}

function compileLabel({ processLabel = "" }: SandboxLaunch): Step[] {
  if (processLabel === "") return [];
  return [
    {
      op: "selinuxExec",
      label: processLabel,
      because: {
        why: "to the pod's containers pause is one of them, not the host's; before the root without /proc",
        source: "CRI LinuxSandboxSecurityContext.selinux_options",
      },
    },
  ];
}

function beginsEmpty({ rootfs, userMaps, emptyNamespace }: SandboxLaunch): boolean {
  return rootfs !== undefined && userMaps === undefined && emptyNamespace !== undefined;
}

function compilePauseRoot(launch: SandboxLaunch): Step[] {
  const { rootfs, userMaps, emptyNamespace } = launch;
  if (rootfs === undefined) return [];
  const because = {
    why: "an empty root: containers that see pause must not see the host through /proc/1/root",
  };
  if (beginsEmpty(launch))
    return [
      ...compileEmptyStart(emptyNamespace),
      { op: "attachRootfs", mount: rootfs.mount, target: "/", because },
      coverEmptyRoot,
    ];
  return [
    {
      op: "setPropagation",
      path: "/",
      flags: MS_SLAVE | MS_REC,
      because: {
        why: "nothing that is mounted here may appear on the host",
        source: "man 7 mount_namespaces",
      },
    },
    {
      op: "attachRootfs",
      mount: rootfs.mount,
      target: userMaps === undefined ? rootfs.target : ".",
      because,
    },
    { op: "pivotRoot", because: { why: "the host's tree is gone for good" } },
  ];
}

function compilePause({ pause, seccomp, userMaps }: SandboxLaunch): Step[] {
  const [uid, gid] = [pauseIdIn(userMaps?.uids), pauseIdIn(userMaps?.gids)];
  return [
    { op: "noNewPrivs", because: { why: "pause never needs any" } },
    { op: "setGroups", groups: [], because: { why: "pause needs no group" } },
    { op: "setIds", uid, gid, because: { why: "pause needs no privilege" } },
    {
      op: "capabilities",
      masks: { bounding: 0n, effective: 0n, permitted: 0n, inheritable: 0n, ambient: 0n },
      because: { why: "nor any capability" },
    },
    ...(seccomp === undefined
      ? []
      : [
          {
            op: "seccomp" as const,
            filter: seccomp.program,
            flags: seccomp.flags,
            because: { why: "the sandbox's own profile", source: "CRI LinuxSandboxSecurityContext.seccomp" },
          },
        ]),
    {
      op: "execFd",
      fd: pause,
      argv: ["pause"],
      env: [],
      because: { why: "from a sealed copy in memory: what runs here cannot be written to (CVE-2019-5736)" },
    },
  ];
}

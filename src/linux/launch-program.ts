// The launch program: what happens between fork and exec, as data. TypeScript compiles it (src/oci), a static C
// program executes it step by step (pause/launch.c), and `cricket explain` prints it. The C side parses no JSON and
// knows no CRI and no OCI: each step here is one C function of a few lines.
//
// A program is run by one of four hosts, all in pause/:
//   spawn    no parent stays behind: sandboxes (pause). A `fork` step is allowed; the process that ran the steps
//            before it reports the child's pid and goes.
//   monitor  the parent stays as the container's monitor: log, attach, exit file. Needs a `fork` and a `waitGate`.
//   detached no parent stays behind, stdio is the caller's: the OCI command line. A `waitGate` listens on a socket.
//   exec     the parent stays as the relay of one exec: stdout/stderr/exit status go back over the control socket.
//
// Steps before `fork` run in the parent, steps after it in the child.

/** A descriptor of this process that the program may use; the encoder gives it a place in the helper's table. */
export type Descriptor = number;

/** Why a step is there and which rule asks for it, for `cricket explain`; never encoded. */
export interface Because {
  why: string;
  /** "OCI runtime-spec config.md#mounts", "CRI LinuxContainerSecurityContext.readonly_rootfs", "CVE-2024-21626" ... */
  source?: string;
}

export interface CapabilityMasks {
  bounding: bigint;
  effective: bigint;
  permitted: bigint;
  inheritable: bigint;
  ambient: bigint;
}

export type FsOptionValue = true | string | { fd: Descriptor };

/**
 * A mount source: a detached mount or open directory the daemon holds, a path of the host (opened in the child's
 * copy of the host's mounts, before pivotRoot, so that a hung filesystem never blocks the daemon), or a path inside
 * the rootfs.
 */
export type MountSource = { fd: Descriptor } | Made | { hostPath: string } | { rootPath: string };

/** The descriptor of an earlier `openMount` or `makeUserNamespace` of the program; these count from 0. */
export interface Made {
  made: number;
}

/** What a mount takes from the directory it covers, before it does so. */
export type CopyUp = "content" | "mode" | "owner";

/** What to make when a mount's target is missing inside the rootfs. "auto" follows the source's type. */
export type CreateTarget = "directory" | "file" | "auto" | "never";

/** All paths called `target` or `path` with "in root" are resolved by openat2(RESOLVE_IN_ROOT) under the rootfs. */
export type StepAction =
  // --- processes and namespaces
  /** clone3(2). `flags` are CLONE_NEW* bits; `cgroup` is a cgroup v2 directory (CLONE_INTO_CGROUP). */
  | { op: "fork"; flags: number; cgroup?: Descriptor; idMaps?: IdMaps }
  /** setns(2) with a pidfd (several CLONE_NEW* bits) or an nsfs descriptor (one bit or 0). */
  | { op: "joinNamespaces"; fd: Descriptor; mask: number }
  | { op: "unshare"; flags: number }
  | { op: "newSession" }
  /** A session keyring of the container's own, so that the host's keys cannot be reached (KEYCTL_JOIN_SESSION_KEYRING). */
  | { op: "newKeyring"; name: string }
  /** prctl(PR_SET_PDEATHSIG); must come after setIds, which clears it. */
  | { op: "parentDeathSignal"; signal: number }
  /**
   * Writes "0" to each: `tasks` files of cgroup v1, or of resctrl. The caller is single-threaded, so the kernel takes its
   * short path.
   */
  | { op: "joinCgroup"; files: Descriptor[]; of?: "resctrl" }
  | { op: "rlimit"; resource: number; soft: bigint; hard: bigint }
  /** Writes one value to a file under the host's /proc (before pivotRoot): sysctls, oom_score_adj, timens_offsets. */
  | { op: "writeProc"; path: string; value: string }
  | { op: "sethostname"; name: string }
  | { op: "setdomainname"; name: string }
  /** socket(2) in the process's netns, handed back over the control socket with SCM_RIGHTS, in program order. */
  | { op: "sendSocket"; domain: number; type: number; protocol: number }
  /** Sets "lo" of the process's netns up: a new one begins with all its devices down. */
  | { op: "loopbackUp" }
  // --- the rootfs
  /** mount(NULL, path, NULL, flags): propagation of the host's tree in the new mount namespace. */
  | { op: "setPropagation"; path: string; flags: number }
  /** move_mount of a detached mount onto a directory of the host; it becomes the root of all "in root" paths. */
  | { op: "attachRootfs"; mount: Descriptor; target: string }
  /** fsopen + fsconfig + fsmount + move_mount. Made in the child: proc, sysfs, mqueue and devpts belong to its namespaces. */
  | {
      op: "mountFs";
      type: string;
      options: [string, FsOptionValue][];
      attributes: number;
      target: string;
      create: CreateTarget;
      copyUp?: readonly CopyUp[];
    }
  /** open_tree(OPEN_TREE_CLONE) + mount_setattr + move_mount: bind mounts. `set`/`clear` are MOUNT_ATTR_ bits. */
  | MountTree
  /** The same without the last call: in the host's mount namespace and with its privileges, for a later `mountTree`. */
  | ({ op: "openMount" } & Tree)
  /** A user namespace nobody is in, for idmapped mounts. Before the fork and before a pid namespace is joined. */
  | ({ op: "makeUserNamespace" } & IdMaps)
  /** chdir(2) outside of the root: "." stays reachable in a new mount namespace whose owner could not walk there. */
  | { op: "hostDirectory"; path: string }
  /** mount_setattr on what is mounted at a target in root: remounts, propagation ("" is the rootfs itself). */
  | {
      op: "setMountAttributes";
      target: string;
      set: number;
      clear: number;
      propagation: number;
      recursive: boolean;
    }
  /** The SELinux label of a directory in root: of a filesystem that takes none when it is mounted. */
  | { op: "setLabel"; target: string; label: string }
  /** mkdir -p; existing directories stay as they are. */
  | { op: "mkdirInRoot"; path: string; mode: number; uid: number; gid: number }
  /** mknod of a device; an existing node of the same type and number is kept. */
  | { op: "mknodInRoot"; path: string; mode: number; device: bigint; uid: number; gid: number }
  /** An existing entry is kept. */
  | { op: "symlinkInRoot"; linkTarget: string; path: string }
  /** A directory gets an empty read-only tmpfs, a file /dev/null of the host (verified 1:3, CVE-2025-31133). Missing: skipped. */
  | { op: "maskPath"; path: string }
  /** Recursive read-only bind of the path onto itself. Missing: skipped. */
  | { op: "readonlyPath"; path: string }
  /** A pty from the container's own devpts (verified, CVE-2025-52565): master to the parent, slave as stdio and /dev/console. */
  | { op: "openPty"; rows: number; columns: number; bindConsole: boolean }
  | { op: "pivotRoot" }
  /** Moves the rootfs over the root, which stays below it: where the root is the kernel's first one and cannot be left. */
  | { op: "moveRoot" }
  /** chroot(2) into the rootfs, or into a directory: for a mount namespace that others are in, too. */
  | { op: "changeRoot"; root?: Descriptor }
  // --- the process
  | { op: "umask"; mask: number }
  | { op: "personality"; domain: number }
  | {
      op: "scheduler";
      policy: number;
      nice: number;
      priority: number;
      flags: bigint;
      runtimeNs: bigint;
      deadlineNs: bigint;
      periodNs: bigint;
    }
  | { op: "ioPriority"; value: number }
  | { op: "cpuAffinity"; mask: Uint8Array }
  | { op: "memoryPolicy"; mode: number; nodes: Uint8Array }
  /** "exec <profile>" to /proc/thread-self/attr/apparmor/exec (or the old path) of a procfs that is verified to be one. */
  | { op: "apparmorExec"; profile: string }
  | { op: "selinuxExec"; label: string }
  /** fchown(2) of the pipes that are stdio, to an id of the host: before a user namespace is entered. */
  | { op: "ownStdio"; uid: number }
  | { op: "setGroups"; groups: number[] }
  /** PR_SET_KEEPCAPS, setresgid, setresuid. Capabilities follow in their own step. */
  | { op: "setIds"; uid: number; gid: number }
  /**
   * Drops the bounding set first, then capset, then ambient. What the runtime's own bounding set lacks is left out:
   * capset would fail with EPERM where the runtime is itself confined. Inheritable is empty in CRI use (CVE-2022-29162).
   */
  | { op: "capabilities"; masks: CapabilityMasks }
  | { op: "noNewPrivs" }
  /** seccomp(SECCOMP_SET_MODE_FILTER). With `listener` the notify descriptor goes to the parent, which hands it on. */
  | { op: "seccomp"; filter: Uint8Array; flags: number; listener?: boolean }
  /**
   * Makes the directory if missing, changes into it and verifies with getcwd that it is inside the root
   * (CVE-2024-21626). "first" leaves a refusal (EACCES, EPERM) to the "second", which does nothing after a success.
   */
  | { op: "chdir"; path: string; create: boolean; attempt?: "first" | "second" }
  // --- the OCI life cycle, in detached hosts and monitors
  /** Tells the caller that everything is made but the change of the root, and waits for the container's state. */
  | { op: "sync" }
  /** Runs a program with the container's state as its input, and waits for its end. 0 seconds: for ever. */
  | { op: "runHook"; path: string; argv: string[]; env: string[]; timeoutSeconds: number }
  /**
   * access(2) with X_OK, without executing: what is not there is said before the gate. Without a slash `name` is searched
   * in `path`, directories with colons between them.
   */
  | { op: "findProgram"; name: string; path: string }
  // --- the end
  /** Tells the parent "created" and waits for "start". */
  | { op: "waitGate" }
  /** close_range(3) and execve. Without a slash argv[0] is searched in PATH of `env`. Failure is reported with its errno. */
  | { op: "exec"; argv: string[]; env: Uint8Array[] }
  /** execveat of a descriptor: pause and other programs of the project, from their sealed memfd. */
  | { op: "execFd"; fd: Descriptor; argv: string[]; env: Uint8Array[] };

export interface MountTree extends Tree {
  op: "mountTree";
  target: string;
  create: CreateTarget;
  copyUp?: readonly CopyUp[];
}

/** A detached copy of mounts, and what becomes of it. */
export interface Tree {
  source: MountSource;
  recursive: boolean;
  set: number;
  clear: number;
  /** Apply set/clear to the whole tree (rro) and not only its top. */
  recursiveAttributes: boolean;
  /** MS_SHARED, MS_SLAVE, MS_PRIVATE (with MS_REC) or 0 to leave. */
  propagation: number;
  /** A user namespace for MOUNT_ATTR_IDMAP; `recursive`: for the mounts below the top, too. */
  idmap?: { userNamespace: { fd: Descriptor } | Made; recursive: boolean };
}

export interface IdMaps {
  /** Lines "<inside> <outside> <length>\n" for /proc/<child>/uid_map. */
  uidMap: string;
  gidMap: string;
}

/** `optional`: a failure becomes a warning (no CAP_SYS_RESOURCE in a nested runtime) and the program goes on. */
export type Step = StepAction & { because?: Because; optional?: boolean };

export interface LaunchProgram {
  steps: Step[];
}

// linux/sched.h
export const CLONE_NEWTIME = 0x00000080;
export const CLONE_NEWNS = 0x00020000;
export const CLONE_NEWCGROUP = 0x02000000;
export const CLONE_NEWUTS = 0x04000000;
export const CLONE_NEWIPC = 0x08000000;
export const CLONE_NEWUSER = 0x10000000;
export const CLONE_NEWPID = 0x20000000;
export const CLONE_NEWNET = 0x40000000;

// Spec of a running container + command -> launch program of one more process in it.
import { CricketError } from "../base/errors.ts";
import { CLONE_NEWPID, type Descriptor, type LaunchProgram, type Step } from "../linux/launch-program.ts";
import { compileJoinCgroup, compileKeyring, compileLimits, SIGKILL } from "./compile-limits.ts";
import { becomeNamespaceRoot, isolatedTypes, namespaceMask } from "./compile-namespaces.ts";
import { compileProcess } from "./compile-process.ts";
import { compileAffinity } from "./compile-scheduling.ts";
import type { CgroupJoin, SeccompFilter } from "./container-launch.ts";
import { compileOwnStdio, userNamespaceKind } from "./user-namespace.ts";
import type { Process, Spec } from "./spec.ts";

export interface ExecLaunch {
  /** The container's. */
  id: string;
  /** The container's spec: the process gets its user, environment, directory and confinement. */
  spec: Spec;
  env: readonly Uint8Array[];
  /** A pidfd of the container's first process. */
  initPidfd: Descriptor;
  command: readonly string[];
  cgroup: CgroupJoin;
  /** The compiled linux.seccomp of the container; must be given exactly when its spec has one. */
  seccomp?: SeccompFilter | undefined;
  /** The most that can be given; not given: what the helper itself has. */
  boundingCapabilities?: bigint;
  /** The process outlives its helper: a detached exec. */
  detached?: boolean;
  /** The root of the container's first process; for a container whose mount namespace has another one. */
  root?: Descriptor;
  /** The container was made with the session keyring of its caller. */
  noNewKeyring?: boolean;
  /** A terminal for the process, of this size. */
  terminal?: { rows: number; columns: number };
}

/** The program of an exec, for the exec host: runs at once, and dies with its helper. */
export function compileExec(launch: ExecLaunch): LaunchProgram {
  const { spec } = launch;
  if (spec.process === undefined) throw new CricketError("internal", "the container's spec has no process");
  if ((spec.linux?.seccomp === undefined) !== (launch.seccomp === undefined))
    throw new CricketError("internal", "linux.seccomp and the compiled filter do not go together");
  const process: Process = { ...spec.process, args: [...launch.command] };
  return {
    steps: [
      ...compileParentJoin(launch),
      compileExecFork(launch.cgroup),
      ...compileInitialAffinity(process),
      ...compileJoinCgroup(launch.cgroup),
      {
        op: "newSession",
        because: { why: "no controlling terminal of the runtime's", source: "man 2 setsid" },
      },
      ...compileLimits(process),
      ...compileOwnStdio(spec.linux, process),
      compileJoin(launch),
      ...(userNamespaceKind(spec.linux) === "none" ? [] : becomeNamespaceRoot()),
      ...compileChangeRoot(launch.root),
      ...(launch.noNewKeyring === true ? [] : compileKeyring(launch.id, process.selinuxLabel)),
      ...compileFinalAffinity(process),
      ...compileExecTerminal(launch),
      ...compileProcess({
        process,
        linux: spec.linux ?? {},
        env: launch.env,
        seccomp: launch.seccomp,
        boundingCapabilities: launch.boundingCapabilities,
        parentDeathSignal: launch.detached === true ? undefined : SIGKILL,
        gate: false,
      }),
    ],
  };
}

const source = "OCI runtime-spec config-linux.md#namespaces";

function compileParentJoin({ spec, initPidfd }: ExecLaunch): Step[] {
  if (!isolatedTypes(spec.linux).has("pid")) return [];
  return [
    {
      op: "joinNamespaces",
      fd: initPidfd,
      mask: CLONE_NEWPID,
      because: { why: "a pid namespace is entered by children only, so the parent names it", source },
    },
  ];
}

function compileExecFork({ directory }: CgroupJoin): Step {
  return {
    op: "fork",
    flags: 0,
    ...(directory === undefined ? {} : { cgroup: directory }),
    because: { why: "the process, of which the helper stays the parent", source: "man 2 clone3" },
  };
}

/** One setns(2) with the pidfd enters all at once, so the namespaces cannot be of two different processes. */
function compileJoin({ spec, initPidfd }: ExecLaunch): Step {
  const types = [...isolatedTypes(spec.linux)].filter((type) => type !== "pid");
  return {
    op: "joinNamespaces",
    fd: initPidfd,
    mask: namespaceMask(types),
    because: { why: `the container's ${types.join(", ")}`, source },
  };
}

function compileChangeRoot(root: Descriptor | undefined): Step[] {
  if (root === undefined) return [];
  return [
    {
      op: "changeRoot",
      root,
      because: { why: "joining a mount namespace ends in its root, which is not the container's", source },
    },
  ];
}

function compileInitialAffinity({ execCPUAffinity }: Process): Step[] {
  const initial = execCPUAffinity?.initial ?? "";
  return initial === "" ? [] : [compileAffinity(initial, "process.execCPUAffinity.initial")];
}

function compileFinalAffinity({ execCPUAffinity }: Process): Step[] {
  const final = execCPUAffinity?.final ?? "";
  return final === "" ? [] : [compileAffinity(final, "process.execCPUAffinity.final")];
}

function compileExecTerminal({ terminal }: ExecLaunch): Step[] {
  if (terminal === undefined) return [];
  return [
    {
      op: "openPty",
      rows: terminal.rows,
      columns: terminal.columns,
      bindConsole: false,
      because: {
        why: "from the container's own devpts, checked to be one (CVE-2025-52565)",
        source: "CRI ExecRequest.tty",
      },
    },
  ];
}

// What a process takes along from before the container exists: session, keyring, rlimits and OOM score. All of it
// is set while the process still has the host's privileges and the host's /proc.
import { constants } from "node:os";
import { invalidArgument } from "../base/errors.ts";
import type { Step } from "../linux/launch-program.ts";
import type { CgroupJoin } from "./container-launch.ts";
import type { Process, Rlimit } from "./spec.ts";

/** Puts the process into its cgroup v1 directories; v2 was done by the fork. */
export function compileJoinCgroup({ files, rdt = [] }: CgroupJoin): Step[] {
  const steps: Step[] = [
    {
      op: "joinCgroup",
      files: [...files],
      because: {
        why: "first of all, so that everything the container causes is charged to it",
        source: "OCI runtime-spec config-linux.md#control-groups",
      },
    },
    {
      op: "joinCgroup",
      files: [...rdt],
      of: "resctrl",
      because: {
        why: "its share of the caches and of the memory bandwidth, before it takes any",
        source: "OCI runtime-spec config-linux.md#intelrdt",
      },
    },
  ];
  return steps.filter((step) => step.op === "joinCgroup" && step.files.length > 0);
}

export function compileSession(id: string, selinuxLabel = ""): Step[] {
  return [
    {
      op: "newSession",
      because: {
        why: "no controlling terminal and no process group of the runtime's",
        source: "man 2 setsid",
      },
    },
    ...compileKeyring(id, selinuxLabel),
  ];
}

/** Execs enter the one that the container's first process has made: it is found by its name. */
export function compileKeyring(id: string, selinuxLabel = ""): Step[] {
  return [
    ...compileKeyLabel(selinuxLabel),
    {
      op: "newKeyring",
      name: `_ses.${id}`,
      // A runtime that runs in a container itself is often refused keyctl(2).
      optional: true,
      because: { why: "keys of the host's session stay out of reach", source: "man 7 session-keyring" },
    },
  ];
}

// execve(2) resets it, so only the keyring that is made next gets it.
function compileKeyLabel(label: string): Step[] {
  if (label === "") return [];
  return [
    {
      op: "writeProc",
      path: "/proc/thread-self/attr/keycreate",
      value: label,
      because: {
        why: "the keyring is the container's own, not the runtime's",
        source: "man 5 proc_pid_attr",
      },
    },
  ];
}

// asm-generic/resource.h, the same on x86-64 and arm64.
const resources: ReadonlyMap<string, number> = new Map(
  [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
  ].map((name, number) => [name, number]),
);

export function compileLimits(process: Process): Step[] {
  const seen = new Set<string>();
  const steps = (process.rlimits ?? []).map((limit, index) => {
    // config.md#posix-process: a type that is listed twice is an error.
    if (seen.has(limit.type)) throw invalidArgument(`process.rlimits has ${limit.type} twice`);
    seen.add(limit.type);
    return compileRlimit(limit, `process.rlimits[${index}].type`);
  });
  if (process.oomScoreAdj !== undefined) steps.push(compileOomScore(process.oomScoreAdj));
  return steps;
}

function compileRlimit({ type, soft, hard }: Rlimit, at: string): Step {
  const resource = resources.get(type);
  if (resource === undefined) throw invalidArgument(`${at} is ${JSON.stringify(type)}: not a resource`);
  return {
    op: "rlimit",
    resource,
    soft,
    hard,
    // Raising a hard limit needs CAP_SYS_RESOURCE, which a nested runtime may lack.
    optional: true,
    because: {
      why: `${type} ${soft}:${hard}, before any privilege is dropped`,
      source: "OCI runtime-spec config.md#posix-process",
    },
  };
}

/** `score` in -1000..1000. */
export function compileOomScore(score: number): Step {
  return {
    op: "writeProc",
    path: "/proc/self/oom_score_adj",
    value: String(score),
    // Lowering it needs CAP_SYS_RESOURCE too.
    optional: true,
    because: {
      why: "the runtime's own score is inherited otherwise",
      source: "OCI runtime-spec config.md#linux-process",
    },
  };
}

/** "RLIMIT_NOFILE" for a name as prlimit(1) has it, "nofile". */
export function rlimitType(name: string): string | undefined {
  const type = `RLIMIT_${name.toUpperCase()}`;
  return resources.has(type) ? type : undefined;
}

/** The inverse, for people: "nofile"; the number where it has no name. */
export function rlimitName(resource: number): string {
  for (const [type, number] of resources)
    if (number === resource) return type.slice("RLIMIT_".length).toLowerCase();
  return String(resource);
}

/** The signal that ends a process whose parent died. */
export const SIGKILL = constants.signals.SIGKILL;

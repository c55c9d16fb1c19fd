// The last part of a launch, for containers and execs alike: privileges are given up in the one order that works,
// and the program is executed.
import { CricketError, invalidArgument } from "../base/errors.ts";
import { capabilityMask } from "../linux/capabilities.ts";
import type { CapabilityMasks, Step } from "../linux/launch-program.ts";
import type { SeccompFilter } from "./container-launch.ts";
import type { Linux, Personality } from "./linux-spec.ts";
import { compileMemoryPolicy } from "./compile-memory-policy.ts";
import { compileScheduling } from "./compile-scheduling.ts";
import { compileStartHooks } from "./compile-hooks.ts";
import type { Capabilities, Hook, Process } from "./spec.ts";

export interface ProcessLaunch {
  process: Process;
  linux: Linux;
  env: readonly Uint8Array[];
  seccomp?: SeccompFilter | undefined;
  boundingCapabilities?: bigint | undefined;
  parentDeathSignal?: number | undefined;
  /** Waits for "start" before it executes. */
  gate: boolean;
  /** Engines expect of `create`, and not of `start`, to say that the program is not there. */
  findsProgram?: boolean;
  /** Run behind the gate. */
  startHooks?: readonly Hook[];
}

/**
 * Order:
 * - apparmor and selinux labels before noNewPrivs, which would forbid the transition;
 * - seccomp before privileges go where noNewPrivs is not set (the kernel asks for CAP_SYS_ADMIN then), else as the
 *   very last thing, so that a profile need not allow what the set-up itself calls; one that notifies before the gate,
 *   as whoever creates the container hands the notify descriptor on;
 * - the directory is changed with the privileges of root, then checked to be inside the container; where root is
 *   refused, the container's user tries again;
 * - groups before ids (afterwards it is forbidden), capabilities after ids (changing ids clears them);
 * - the parent-death signal after ids, which clear it.
 */
export function compileProcess(launch: ProcessLaunch): Step[] {
  const { process, linux, seccomp } = launch;
  const noNewPrivs = process.noNewPrivileges === true;
  const isLate = noNewPrivs && !(launch.gate && seccomp?.listener === true);
  return [
    ...compileUmask(process),
    ...compilePersonality(linux.personality),
    ...compileScheduling(process),
    ...compileMemoryPolicy(linux.memoryPolicy),
    ...compileLabels(process),
    ...(noNewPrivs ? [noNewPrivsStep] : []),
    ...(noNewPrivs ? [] : compileEarlyFilter(launch)),
    ...compileChdir(process.cwd, "first"),
    ...compileCredentials(launch),
    ...compileDeathSignal(launch.parentDeathSignal),
    ...(noNewPrivs && !isLate
      ? compileSeccompStep(seccomp, "the last step while somebody is there to hand its listener on")
      : []),
    ...compileLateFind(launch, isLate),
    ...(launch.gate ? [gateStep] : []),
    ...compileStartHooks(launch.startHooks ?? []),
    ...(isLate ? compileSeccompStep(seccomp, "last, so that it need not allow the set-up") : []),
    compileExecute(launch),
  ];
}

const processSource = "OCI runtime-spec config.md#process";

function compileUmask({ user }: Process): Step[] {
  return [
    {
      op: "umask",
      mask: user.umask ?? 0o022,
      because: { why: "the set-up worked with 0", source: "OCI runtime-spec config.md#posix-platform-user" },
    },
  ];
}

// linux/personality.h
const personalityDomains: Record<Personality["domain"], number> = { LINUX: 0x0000, LINUX32: 0x0008 };

function compilePersonality(personality: Personality | undefined): Step[] {
  if (personality === undefined) return [];
  if ((personality.flags?.length ?? 0) > 0)
    throw invalidArgument("linux.personality.flags: the spec defines no flags");
  return [
    {
      op: "personality",
      domain: personalityDomains[personality.domain],
      because: {
        why: `execution domain ${personality.domain}`,
        source: "OCI runtime-spec config-linux.md#personality",
      },
    },
  ];
}

function compileLabels({ apparmorProfile = "", selinuxLabel = "" }: Process): Step[] {
  const steps: Step[] = [];
  if (apparmorProfile !== "")
    steps.push({
      op: "apparmorExec",
      profile: apparmorProfile,
      because: {
        why: "taken on by execve; written to a procfs that is checked to be one (CVE-2019-16884)",
        source: processSource,
      },
    });
  if (selinuxLabel !== "")
    steps.push({
      op: "selinuxExec",
      label: selinuxLabel,
      because: { why: "taken on by execve; before noNewPrivs forbids it", source: processSource },
    });
  return steps;
}

const noNewPrivsStep: Step = {
  op: "noNewPrivs",
  because: { why: "set-user-ID programs give nothing from here on", source: processSource },
};

function compileSeccompStep(seccomp: SeccompFilter | undefined, when: string): Step[] {
  if (seccomp === undefined) return [];
  return [
    {
      op: "seccomp",
      filter: seccomp.program,
      flags: seccomp.flags,
      ...(seccomp.listener ? { listener: true } : {}),
      because: { why: when, source: "OCI runtime-spec config-linux.md#seccomp" },
    },
  ];
}

function compileChdir(cwd: string, attempt: "first" | "second"): Step[] {
  // pivotRoot and joining a mount namespace end in "/".
  if (cwd === "/") return [];
  return [
    {
      op: "chdir",
      path: cwd,
      create: false,
      attempt,
      because: {
        why:
          attempt === "first"
            ? "and checked to be inside: a leaked descriptor of the host must not be the way out (CVE-2024-21626)"
            : "root may be nobody on the file system (NFS with root_squash), the user its owner",
        source: processSource,
      },
    },
  ];
}

function compileCredentials({ process, boundingCapabilities }: ProcessLaunch): Step[] {
  const { uid, gid, additionalGids = [] } = process.user;
  const source = "OCI runtime-spec config.md#posix-platform-user";
  return [
    {
      op: "setGroups",
      groups: [...additionalGids],
      because: { why: "the runtime's groups are dropped, too", source },
    },
    { op: "setIds", uid, gid, because: { why: "after this, groups can no longer be set", source } },
    ...(uid === 0 ? [] : compileChdir(process.cwd, "second")),
    {
      op: "capabilities",
      masks: compileCapabilities(process.capabilities, boundingCapabilities),
      because: {
        why: "after the ids, which clear them; never more than the runtime itself has",
        source: "OCI runtime-spec config.md#linux-process",
      },
    },
  ];
}

const allCapabilities = (1n << 64n) - 1n;

/** Without `capabilities` in the spec a process has none. */
function compileCapabilities(sets: Capabilities | undefined, bounding = allCapabilities): CapabilityMasks {
  const mask = (name: keyof Capabilities): bigint =>
    capabilityMask(sets?.[name] ?? [], `process.capabilities.${name}`) & bounding;
  const permitted = mask("permitted");
  const inheritable = mask("inheritable");
  return {
    bounding: mask("bounding"),
    effective: mask("effective") & permitted,
    permitted,
    inheritable,
    // The kernel wants every ambient capability to be permitted and inheritable.
    ambient: mask("ambient") & permitted & inheritable,
  };
}

function compileDeathSignal(signal: number | undefined): Step[] {
  if (signal === undefined) return [];
  return [
    {
      op: "parentDeathSignal",
      signal,
      because: { why: "never runs on unwatched; changing ids would have cleared it", source: "man 2 prctl" },
    },
  ];
}

const gateStep: Step = {
  op: "waitGate",
  because: {
    why: "everything is made: created, until it is started",
    source: "OCI runtime-spec runtime.md#lifecycle",
  },
};

/** A filter that is in force may kill who asks for the program. */
function compileEarlyFilter(launch: ProcessLaunch): Step[] {
  if (launch.seccomp === undefined) return [];
  const when = "before privileges are dropped: noNewPrivileges is not set";
  return [...compileFind(launch), ...compileSeccompStep(launch.seccomp, when)];
}

/** As the container's user, where there is no filter yet. */
function compileLateFind(launch: ProcessLaunch, isLate: boolean): Step[] {
  return launch.seccomp === undefined || isLate ? compileFind(launch) : [];
}

function compileFind({ process, env, findsProgram }: ProcessLaunch): Step[] {
  const name = process.args?.[0] ?? "";
  // What is relative can be found from the working directory only.
  const isRelative = name.includes("/") && !name.startsWith("/");
  if (findsProgram !== true || name === "" || isRelative) return [];
  const prefix = Buffer.from("PATH=");
  const line = env.find((entry) => prefix.equals(entry.subarray(0, prefix.length)));
  return [
    {
      op: "findProgram",
      name,
      path: line === undefined ? defaultPath : Buffer.from(line).toString("utf8").slice(prefix.length),
      because: {
        why: "a program that is not there is an error of create: engines then answer with 127 or 126",
        source: "runc create",
      },
    },
  ];
}

/** What exec searches where the environment has no PATH (pause/exec-steps.c). */
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

function compileExecute({ process, env }: ProcessLaunch): Step {
  const argv = process.args ?? [];
  if (argv.length === 0 || argv[0] === "") throw invalidArgument("process.args is empty: nothing to execute");
  return {
    op: "exec",
    argv: [...argv],
    env: [...env],
    because: {
      why: "all descriptors but stdio are closed first (CVE-2016-9962, CVE-2024-21626)",
      source: processSource,
    },
  };
}

/** The filter of a spec that has linux.seccomp must have been compiled, and only then. */
export function assertSeccompGiven(linux: Linux | undefined, seccomp: SeccompFilter | undefined): void {
  if ((linux?.seccomp === undefined) !== (seccomp === undefined))
    throw new CricketError("internal", "linux.seccomp and the compiled filter do not go together");
}

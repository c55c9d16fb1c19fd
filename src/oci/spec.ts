// config.json of the OCI runtime-spec 1.3, as far as Linux goes: the parts every platform has. linux-spec.ts has the rest.
// Property names are the spec's own. 64-bit numbers are bigints: RLIM_INFINITY does not fit a JavaScript number.
import type { IdMapping, Linux } from "./linux-spec.ts";

/** The version of the runtime-spec that `buildContainerSpec` writes: nothing in it is younger. */
export const SPEC_VERSION = "1.2.0";

/** The youngest version of which `parseSpec` knows all properties; it takes any 1.x. */
export const NEWEST_SPEC_VERSION = "1.3.0";

/** config.md: the root of config.json. */
export interface Spec {
  ociVersion: string;
  root?: Root;
  hostname?: string;
  domainname?: string;
  mounts?: Mount[];
  process?: Process;
  hooks?: Hooks;
  annotations?: Record<string, string>;
  linux?: Linux;
}

/** config.md#root. `path` is absolute or relative to the bundle. */
export interface Root {
  path: string;
  readonly?: boolean;
}

/** config.md#mounts. The mappings make an idmapped mount; they need `idmap` or `ridmap` only to choose recursion. */
export interface Mount {
  destination: string;
  type?: string;
  source?: string;
  options?: string[];
  uidMappings?: IdMapping[];
  gidMappings?: IdMapping[];
}

/** config.md#process. */
export interface Process {
  terminal?: boolean;
  consoleSize?: { height: number; width: number };
  cwd: string;
  /** "KEY=value". What is not UTF-8 travels beside the spec, as bytes. */
  env?: string[];
  args?: string[];
  user: User;
  rlimits?: Rlimit[];
  capabilities?: Capabilities;
  noNewPrivileges?: boolean;
  apparmorProfile?: string;
  selinuxLabel?: string;
  oomScoreAdj?: number;
  scheduler?: Scheduler;
  ioPriority?: IoPriority;
  execCPUAffinity?: { initial?: string; final?: string };
}

/** config.md#posix-platform-user. */
export interface User {
  uid: number;
  gid: number;
  umask?: number;
  additionalGids?: number[];
}

/** config.md#posix-process: `type` is "RLIMIT_NOFILE" and the like. */
export interface Rlimit {
  type: string;
  soft: bigint;
  hard: bigint;
}

/** config.md#linux-process: five sets of "CAP_..." names. */
export interface Capabilities {
  bounding?: string[];
  effective?: string[];
  inheritable?: string[];
  permitted?: string[];
  ambient?: string[];
}

/** config.md#linux-process: sched_setattr(2). Times are nanoseconds. */
export interface Scheduler {
  policy: SchedulerPolicy;
  nice?: number;
  priority?: number;
  flags?: string[];
  runtime?: bigint;
  deadline?: bigint;
  period?: bigint;
}

export type SchedulerPolicy =
  "SCHED_OTHER" | "SCHED_FIFO" | "SCHED_RR" | "SCHED_BATCH" | "SCHED_ISO" | "SCHED_IDLE" | "SCHED_DEADLINE";

/** config.md#linux-process: ioprio_set(2). */
export interface IoPriority {
  class: "IOPRIO_CLASS_RT" | "IOPRIO_CLASS_BE" | "IOPRIO_CLASS_IDLE";
  priority: number;
}

/** config.md#posix-platform-hooks, in the order of the life cycle. */
export interface Hooks {
  prestart?: Hook[];
  createRuntime?: Hook[];
  createContainer?: Hook[];
  startContainer?: Hook[];
  poststart?: Hook[];
  poststop?: Hook[];
}

export interface Hook {
  path: string;
  args?: string[];
  env?: string[];
  /** Seconds. */
  timeout?: number;
}

// exec: one more process in a container, of which nothing of cricket stays the parent.
import { openSync } from "node:fs";
import { failedPrecondition, invalidArgument } from "../../base/errors.ts";
import { normaliseCapability } from "../../linux/capabilities.ts";
import { joinTasks, type CgroupJoin, type SubCgroups } from "../../linux/cgroup/cgroup-join.ts";
import { close, O_CLOEXEC, O_DIRECTORY, O_PATH } from "../../linux/files.ts";
import type { LaunchProgram } from "../../linux/launch-program.ts";
import { spawnDetached } from "../../linux/spawn-detached.ts";
import { compileExec } from "../compile-exec.ts";
import { compileSeccomp } from "../compile-seccomp.ts";
import type { Capabilities, Process, Spec } from "../spec.ts";
import { assertHostConfines } from "./check-host.ts";
import type { ContainerState, ContainerStatus } from "./container-store.ts";
import { ConsoleSocket } from "./console-socket.ts";
import { PidfdSocket } from "./pidfd-socket.ts";
import { allRequired, writePidFile } from "./create.ts";
import { explainFailure } from "./explain-failure.ts";
import { LaunchDescriptors, keptDescriptors } from "./descriptors.ts";
import { environmentOf } from "./home.ts";
import { intelRdtTasks } from "./intel-rdt.ts";
import { readProcess, type Checked } from "./read-bundle.ts";
import type { Runtime } from "./runtime.ts";
import { sendListener, type NotifiedState } from "../seccomp-listener.ts";
import { traceLaunch } from "./trace-launch.ts";

export interface ExecOptions {
  id: string;
  /** A process.json; all below but the last ones is then ignored. */
  processFile?: string | undefined;
  args: readonly string[];
  cwd?: string | undefined;
  env: readonly string[];
  /** "UID[:GID]". */
  user?: string | undefined;
  additionalGids: readonly string[];
  capabilities: readonly string[];
  tty: boolean;
  noNewPrivs: boolean;
  apparmor?: string | undefined;
  selinuxLabel?: string | undefined;
  ignorePaused: boolean;
  /** Existing cgroups below the container's: "/sub". */
  cgroups: SubCgroups;
  preserveFds: number;
  pidFile?: string | undefined;
  consoleSocket?: string | undefined;
  pidfdSocket?: string | undefined;
  /** A terminal without --console-socket is the caller's to relay. */
  keepsTerminal: boolean;
}

export interface ExecProcess {
  pid: number;
  pidfd: number;
  pty: number | undefined;
  warnings: readonly string[];
}

/** Resolves once the program runs. @throws CricketError, LaunchError with the errno of execve */
export async function execInContainer(runtime: Runtime, options: ExecOptions): Promise<ExecProcess> {
  const { store } = runtime;
  const state = store.get(options.id);
  assertCanExec(store.status(state), options);
  const spec = store.loadSpec(options.id);
  const { value: process, warnings } = processOf(spec, options, runtime.strict);
  assertHostConfines(process);
  if (process.terminal === true && options.consoleSocket === undefined && !options.keepsTerminal)
    throw invalidArgument("process.terminal: a detached process needs --console-socket");
  using console = ConsoleSocket.open(options.consoleSocket);
  using pidfds = PidfdSocket.open(options.pidfdSocket);
  using descriptors = new LaunchDescriptors();
  const rdtTasks = intelRdtTasks(state.id, spec.linux?.intelRdt);
  const cgroup = descriptors.use(joinTasks(joinCgroup(runtime, state, options.cgroups), rdtTasks));
  const compiled = programOf(runtime, { ...state, cgroup }, { ...spec, process }, descriptors);
  const program = runtime.strict ? allRequired(compiled) : compiled;
  await traceLaunch(runtime, program);
  try {
    const ran = await spawnDetached(runtime.helper(), program, {
      ...(process.terminal === true ? {} : { stdio: [0, 1, 2] as const }),
      kept: keptDescriptors(options.preserveFds),
      onListener: (listener, pid) => sendListener(spec.linux?.seccomp, notifiedState(state), listener, pid),
    });
    const { pid, pidfd, pty } = ran;
    pidfds?.send(pidfd, "setns");
    warnings.push(...ran.warnings);
    if (options.pidFile !== undefined) writePidFile(options.pidFile, pid);
    if (pty === undefined || console === undefined) return { pid, pidfd, pty, warnings };
    console.send(pty);
    close(pty);
    return { pid, pidfd, pty: undefined, warnings };
  } catch (error) {
    throw explainFailure(error, process);
  }
}

function notifiedState({ ociVersion, id, bundle, annotations, process }: ContainerState): NotifiedState {
  return { ociVersion, id, status: "running", pid: process?.pid ?? 0, bundle, annotations };
}

function joinCgroup(
  { store }: Runtime,
  { cgroupPath, process }: ContainerState,
  below: SubCgroups,
): CgroupJoin {
  const byController = new Map([...below.byController].map(([name, path]) => [name, normalise(path)]));
  return store.cgroups.joinBelow(cgroupPath, { all: normalise(below.all ?? ""), byController }, process?.pid);
}

const normalise = (path: string): string => {
  const name = path.replace(/^\/+|\/+$/g, "");
  return name === "" ? "" : `/${name}`;
};

function assertCanExec(status: ContainerStatus, { ignorePaused }: ExecOptions): void {
  if (status === "stopped") throw failedPrecondition("cannot exec in a stopped container");
  if (status === "creating") throw failedPrecondition("cannot exec in a container that is being created");
  if (status === "paused" && !ignorePaused)
    throw failedPrecondition("cannot exec in a paused container (use --ignore-paused to override)");
}

/** `spec` is the container's with the process to run. */
function programOf(
  { store }: Runtime,
  state: ContainerState & { cgroup: CgroupJoin },
  spec: Spec,
  descriptors: LaunchDescriptors,
): LaunchProgram {
  const initPidfd = store.openProcess(state);
  if (initPidfd === undefined) throw failedPrecondition("cannot exec in a stopped container");
  descriptors.add(initPidfd);
  const { args = [], terminal, consoleSize = { height: 0, width: 0 } } = spec.process ?? {};
  const seccomp = spec.linux?.seccomp;
  return compileExec({
    id: state.id,
    spec,
    env:
      spec.process === undefined ? [] : environmentOf(spec.process, `/proc/${state.process?.pid ?? 0}/root`),
    initPidfd,
    command: args,
    cgroup: state.cgroup,
    detached: true,
    noNewKeyring: state.noNewKeyring === true,
    ...(joinsMounts(spec) ? { root: descriptors.add(openRoot(state)) } : {}),
    ...(seccomp === undefined ? {} : { seccomp: compileSeccomp(seccomp) }),
    ...(terminal === true ? { terminal: { rows: consoleSize.height, columns: consoleSize.width } } : {}),
  });
}

function joinsMounts({ linux }: Spec): boolean {
  return linux?.namespaces?.some(({ type, path }) => type === "mount" && path !== undefined) === true;
}

function openRoot({ process }: ContainerState): number {
  return openSync(`/proc/${process?.pid ?? 0}/root`, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

function processOf(spec: Spec, options: ExecOptions, strict: boolean): Checked<Process> {
  if (options.processFile !== undefined) return readProcess(options.processFile, strict);
  if (spec.process === undefined) throw invalidArgument("process property must not be empty");
  if (options.args.length === 0) throw invalidArgument("exec: the command is missing");
  const { consoleSize: _ofInit, ...base } = spec.process;
  const process: Process = {
    ...base,
    args: [...options.args],
    terminal: options.tty,
    cwd: options.cwd ?? base.cwd,
    env: [...(base.env ?? []), ...options.env],
    user: userOf(base.user, options),
    ...(options.capabilities.length === 0
      ? {}
      : { capabilities: withCapabilities(base.capabilities ?? {}, options.capabilities) }),
    ...(options.noNewPrivs ? { noNewPrivileges: true } : {}),
    ...(options.apparmor === undefined ? {} : { apparmorProfile: options.apparmor }),
    ...(options.selinuxLabel === undefined ? {} : { selinuxLabel: options.selinuxLabel }),
  };
  return { value: process, warnings: [] };
}

function userOf(base: Process["user"], { user, additionalGids }: ExecOptions): Process["user"] {
  const result = { ...base };
  if (user !== undefined) {
    const match = /^(\d+)(?::(\d+))?$/.exec(user);
    if (match === null) throw invalidArgument(`--user ${JSON.stringify(user)} is not UID[:GID]`);
    result.uid = parseId(match[1] ?? "", "--user");
    if (match[2] !== undefined) result.gid = parseId(match[2], "--user");
  }
  const gids = additionalGids.map((gid) => parseId(gid, "--additional-gids"));
  if (gids.length > 0) result.additionalGids = [...(result.additionalGids ?? []), ...gids];
  return result;
}

// 2^32-1 is -1 to the kernel, "leave it as it is": root would stay root (compare CVE-2026-30892, CVE-2024-40635).
function parseId(text: string, option: string): number {
  const id = /^\d{1,10}$/.test(text) ? Number(text) : Infinity;
  if (id > 0xfffffffe) throw invalidArgument(`${option}: ${JSON.stringify(text)} is not an id`);
  return id;
}

/** Never inheritable: a program could pass such on to others than root (CVE-2022-29162). */
function withCapabilities(base: Capabilities, added: readonly string[]): Capabilities {
  const names = added.map((name) => normaliseCapability(name, "--cap"));
  const join = (list: readonly string[] = []): string[] => [...new Set([...list, ...names])];
  return {
    ...base,
    bounding: join(base.bounding),
    effective: join(base.effective),
    permitted: join(base.permitted),
  };
}

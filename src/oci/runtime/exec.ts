// exec: one more process in a container, of which nothing of cricket stays the parent.
import { readFileSync } from "node:fs";
import { failedPrecondition, invalidArgument, wrapError } from "../../base/errors.ts";
import { normaliseCapability } from "../../linux/capabilities.ts";
import { close } from "../../linux/files.ts";
import type { LaunchProgram } from "../../linux/launch-program.ts";
import { spawnDetached } from "../../linux/spawn-detached.ts";
import { compileExec } from "../compile-exec.ts";
import { compileSeccomp } from "../compile-seccomp.ts";
import { parseProcess } from "../parse-spec.ts";
import type { Capabilities, Process, Spec } from "../spec.ts";
import type { ContainerState, ContainerStatus } from "./container-store.ts";
import { ConsoleSocket } from "./console-socket.ts";
import { writePidFile } from "./create.ts";
import { LaunchDescriptors, keptDescriptors } from "./descriptors.ts";
import type { Runtime } from "./runtime.ts";
import { explainFailure } from "./start.ts";

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
  ignorePaused: boolean;
  preserveFds: number;
  pidFile?: string | undefined;
  consoleSocket?: string | undefined;
  /** A terminal without --console-socket is the caller's to relay. */
  keepsTerminal: boolean;
}

export interface ExecProcess {
  pid: number;
  pidfd: number;
  pty: number | undefined;
}

/** Resolves once the program runs. @throws CricketError, LaunchError with the errno of execve */
export async function execInContainer(runtime: Runtime, options: ExecOptions): Promise<ExecProcess> {
  const { store } = runtime;
  const state = store.get(options.id);
  assertCanExec(store.status(state), options);
  const spec = store.loadSpec(options.id);
  const process = processOf(spec, options);
  if (process.terminal === true && options.consoleSocket === undefined && !options.keepsTerminal)
    throw invalidArgument("process.terminal: a detached process needs --console-socket");
  using console = options.consoleSocket === undefined ? undefined : new ConsoleSocket(options.consoleSocket);
  using descriptors = new LaunchDescriptors();
  const program = programOf(runtime, state, { ...spec, process }, descriptors);
  try {
    const { pid, pidfd, pty } = await spawnDetached(runtime.helper(), program, {
      ...(process.terminal === true ? {} : { stdio: [0, 1, 2] as const }),
      kept: keptDescriptors(options.preserveFds),
    });
    if (options.pidFile !== undefined) writePidFile(options.pidFile, pid);
    if (pty === undefined || console === undefined) return { pid, pidfd, pty };
    console.send(pty);
    close(pty);
    return { pid, pidfd, pty: undefined };
  } catch (error) {
    throw explainFailure(error, process.args?.[0] ?? "");
  }
}

function assertCanExec(status: ContainerStatus, { ignorePaused }: ExecOptions): void {
  if (status === "stopped") throw failedPrecondition("cannot exec in a stopped container");
  if (status === "creating") throw failedPrecondition("cannot exec in a container that is being created");
  if (status === "paused" && !ignorePaused)
    throw failedPrecondition("cannot exec in a paused container (use --ignore-paused to override)");
}

/** `spec` is the container's with the process to run. */
function programOf(
  { store }: Runtime,
  state: ContainerState,
  spec: Spec,
  descriptors: LaunchDescriptors,
): LaunchProgram {
  const initPidfd = store.openProcess(state);
  if (initPidfd === undefined) throw failedPrecondition("cannot exec in a stopped container");
  descriptors.add(initPidfd);
  const { args = [], env = [], terminal, consoleSize = { height: 0, width: 0 } } = spec.process ?? {};
  const seccomp = spec.linux?.seccomp;
  return compileExec({
    spec,
    env: env.map((line) => Buffer.from(line)),
    initPidfd,
    command: args,
    cgroup: descriptors.use(store.cgroups.joinFiles(state.cgroupPath)),
    detached: true,
    ...(seccomp === undefined ? {} : { seccomp: compileSeccomp(seccomp) }),
    ...(terminal === true ? { terminal: { rows: consoleSize.height, columns: consoleSize.width } } : {}),
  });
}

function processOf(spec: Spec, options: ExecOptions): Process {
  if (options.processFile !== undefined) return readProcess(options.processFile);
  if (spec.process === undefined) throw invalidArgument("process property must not be empty");
  if (options.args.length === 0) throw invalidArgument("exec: the command is missing");
  const { consoleSize: _ofInit, ...base } = spec.process;
  return {
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
  };
}

function readProcess(file: string): Process {
  try {
    return parseProcess(readFileSync(file, "utf8"));
  } catch (error) {
    throw wrapError(`--process ${file}`, error);
  }
}

function userOf(base: Process["user"], { user, additionalGids }: ExecOptions): Process["user"] {
  const result = { ...base };
  if (user !== undefined) {
    const match = /^(\d{1,10})(?::(\d{1,10}))?$/.exec(user);
    if (match === null) throw invalidArgument(`--user ${JSON.stringify(user)} is not UID[:GID]`);
    result.uid = Number(match[1]);
    if (match[2] !== undefined) result.gid = Number(match[2]);
  }
  const gids = additionalGids.map((gid) => {
    if (!/^\d{1,10}$/.test(gid))
      throw invalidArgument(`--additional-gids ${JSON.stringify(gid)} is not a number`);
    return Number(gid);
  });
  if (gids.length > 0) result.additionalGids = [...(result.additionalGids ?? []), ...gids];
  return result;
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

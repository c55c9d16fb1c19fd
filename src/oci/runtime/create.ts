// create: everything but the program itself. The container's first process waits at its gate, and nothing of cricket
// stays beside it: it becomes the child of the caller's subreaper, which is how engines learn of its end.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { CleanupStack } from "../../base/cleanup-stack.ts";
import { failedPrecondition, invalidArgument, wrapError } from "../../base/errors.ts";
import { giveCgroup } from "../../linux/cgroup/cgroup-owner.ts";
import { AT_FDCWD, close } from "../../linux/files.ts";
import { connectUnix, listenAtGate } from "../../linux/gate.ts";
import type { LaunchProgram } from "../../linux/launch-program.ts";
import { cloneMount } from "../../linux/mount.ts";
import { findMount, readMountinfo } from "../../linux/mountinfo.ts";
import { signalPidfd } from "../../linux/pidfd.ts";
import { processStartTime } from "../../linux/proc.ts";
import { sendDescriptors } from "../../linux/sockets.ts";
import { type DetachedProcess, spawnDetached } from "../../linux/spawn-detached.ts";
import { cgroupViewOf } from "../cgroup-view.ts";
import { compileContainer } from "../compile-container.ts";
import { wantsSharedMounts } from "../compile-mounts.ts";
import { compileSeccomp } from "../compile-seccomp.ts";
import { parseSpec } from "../parse-spec.ts";
import type { Spec } from "../spec.ts";
import { cgroupOwner } from "../user-namespace.ts";
import { cgroupPathOf, cgroupResourcesOf, deviceRulesOf } from "./cgroup-limits.ts";
import { ConsoleSocket } from "./console-socket.ts";
import type { ContainerState } from "./container-store.ts";
import { findDeviceNodes } from "./device-nodes.ts";
import { LaunchDescriptors, keptDescriptors, openNamespaces } from "./descriptors.ts";
import { runHooks } from "./hooks.ts";
import type { Runtime } from "./runtime.ts";

export interface CreateOptions {
  id: string;
  /** A directory with config.json. */
  bundle: string;
  pidFile?: string | undefined;
  consoleSocket?: string | undefined;
  /** How many descriptors from 3 on the program gets. */
  preserveFds: number;
  noPivot: boolean;
  noNewKeyring: boolean;
  /** A terminal without --console-socket is the caller's to relay. */
  keepsTerminal: boolean;
}

export interface CreatedContainer {
  state: ContainerState;
  spec: Spec;
  pidfd: number;
  /** The master of the terminal, where it is the caller's. */
  pty: number | undefined;
  warnings: readonly string[];
}

/** @throws CricketError, LaunchError; then nothing is left */
export async function createContainer(runtime: Runtime, options: CreateOptions): Promise<CreatedContainer> {
  const { store } = runtime;
  const bundle = resolve(options.bundle);
  const spec = readSpec(bundle);
  checkOptions(spec, options);
  using console = options.consoleSocket === undefined ? undefined : new ConsoleSocket(options.consoleSocket);
  const undo = new CleanupStack();
  store.reserve(options.id);
  undo.defer("remove the directory", () => store.remove(options.id));
  try {
    const state = firstState(options.id, bundle, spec);
    store.save(state);
    store.saveSpec(options.id, spec);
    prepareCgroup(runtime, state, spec, undo);
    const process = await launch(runtime, { state, spec, options });
    undo.defer("kill the process", () => void signalPidfd(process.pidfd, 9));
    state.process = { pid: process.pid, startTimeTicks: processStartTime(process.pid) };
    handOut(process, spec, state, console);
    store.save(state);
    if (options.pidFile !== undefined) writePidFile(options.pidFile, process.pid);
    undo.keep();
    return { state, spec, pidfd: process.pidfd, pty: process.pty, warnings: process.warnings };
  } catch (error) {
    throw await undo.fail(error);
  }
}

export function readSpec(bundle: string): Spec {
  const path = join(bundle, "config.json");
  try {
    return parseSpec(readFileSync(path, "utf8"));
  } catch (error) {
    throw wrapError(path, error);
  }
}

function checkOptions(spec: Spec, options: CreateOptions): void {
  const terminal = spec.process?.terminal === true;
  if (options.noPivot) throw failedPrecondition("--no-pivot: the root is always changed with pivot_root");
  if (spec.root === undefined) throw invalidArgument("root is missing");
  if (terminal && options.consoleSocket === undefined && !options.keepsTerminal)
    throw invalidArgument("process.terminal: a detached process needs --console-socket");
  if (!terminal && options.consoleSocket !== undefined)
    throw invalidArgument("--console-socket: process.terminal is not set");
}

function firstState(id: string, bundle: string, spec: Spec): ContainerState {
  const path = spec.root?.path ?? "";
  return {
    version: 1,
    id,
    ociVersion: spec.ociVersion,
    bundle,
    rootfs: isAbsolute(path) ? path : join(bundle, path),
    cgroupPath: cgroupPathOf(id, spec.linux?.cgroupsPath),
    created: new Date().toISOString(),
    annotations: spec.annotations ?? {},
    owner: "root",
  };
}

function prepareCgroup(
  { store }: Runtime,
  { cgroupPath }: ContainerState,
  spec: Spec,
  undo: CleanupStack,
): void {
  if (store.cgroups.exists(cgroupPath) && store.cgroups.hasProcesses(cgroupPath))
    throw failedPrecondition(`container's cgroup is not empty: ${cgroupPath}`);
  undo.defer("remove the cgroup", async () => {
    await store.cgroups.kill(cgroupPath);
    await store.cgroups.remove(cgroupPath);
  });
  store.cgroups.create(cgroupPath, cgroupResourcesOf(spec.linux?.resources ?? {}));
  store.cgroups.setDevices(cgroupPath, deviceRulesOf(spec.linux ?? {}));
  const owner = cgroupOwner(spec);
  if (owner !== undefined) giveCgroup(store.cgroups.layout, cgroupPath, owner);
}

interface Launch {
  state: ContainerState;
  spec: Spec;
  options: CreateOptions;
}

async function launch(runtime: Runtime, request: Launch): Promise<DetachedProcess> {
  using descriptors = new LaunchDescriptors();
  const { state, spec, options } = request;
  const { store } = runtime;
  const program = programOf(runtime, request, descriptors);
  const gate = descriptors.add(listenAtGate(store.directory(state.id)));
  const { prestart, createRuntime } = spec.hooks ?? {};
  return spawnDetached(runtime.helper(), program, {
    ...(spec.process?.terminal === true ? {} : { stdio: [0, 1, 2] as const }),
    gate,
    kept: keptDescriptors(options.preserveFds),
    async onSync(pid) {
      const described = { ...store.describe(state), pid, status: "creating" as const };
      await runHooks("prestart", prestart, described);
      await runHooks("createRuntime", createRuntime, described);
      return JSON.stringify(described);
    },
  });
}

function programOf({ store }: Runtime, request: Launch, descriptors: LaunchDescriptors): LaunchProgram {
  const { state, spec, options } = request;
  const seccomp = spec.linux?.seccomp;
  const join = openNamespaces(spec.linux, descriptors);
  const userNamespace = join.find(({ types }) => types.includes("user"));
  const program = compileContainer({
    id: state.id,
    spec,
    env: (spec.process?.env ?? []).map((line) => Buffer.from(line)),
    rootfs: {
      mount: descriptors.add(cloneMount(AT_FDCWD, state.rootfs, true)),
      target: state.rootfs,
      ...parentMountOf(spec, state.rootfs),
    },
    join,
    ...(userNamespace === undefined ? {} : { userNamespace: userNamespace.fd }),
    deviceNodes: findDeviceNodes(spec.linux),
    cgroup: descriptors.use(store.cgroups.joinFiles(state.cgroupPath)),
    cgroupView: cgroupViewOf(state.cgroupPath, store.cgroups.layout),
    runsHooks: true,
    ...(seccomp === undefined ? {} : { seccomp: compileSeccomp(seccomp) }),
  });
  if (!options.noNewKeyring) return program;
  return { steps: program.steps.filter((step) => step.op !== "newKeyring") };
}

function parentMountOf(spec: Spec, rootfs: string): { parentMount?: string } {
  if (!wantsSharedMounts(spec)) return {};
  const parentMount = findMount(readMountinfo("self"), dirname(rootfs))?.mountPoint;
  return parentMount === undefined ? {} : { parentMount };
}

/** Descriptors that others wait for: the terminal's, and the one of seccomp's notifications. */
function handOut(
  process: DetachedProcess,
  spec: Spec,
  state: ContainerState,
  console: ConsoleSocket | undefined,
): void {
  if (process.pty !== undefined && console !== undefined) {
    console.send(process.pty);
    close(process.pty);
    process.pty = undefined;
  }
  if (process.listener === undefined) return;
  const { listenerPath = "", listenerMetadata = "" } = spec.linux?.seccomp ?? {};
  const socket = connectUnix(listenerPath);
  try {
    const pid = process.pid;
    const { ociVersion, id, bundle, annotations } = state;
    // runtime.md and config-linux.md#containerprocessstate
    const message = {
      ociVersion,
      fds: ["seccompFd"],
      pid,
      metadata: listenerMetadata,
      state: { ociVersion, id, status: "creating", pid, bundle, annotations },
    };
    sendDescriptors(socket, Buffer.from(JSON.stringify(message)), [process.listener]);
  } finally {
    close(socket);
    close(process.listener);
  }
}

export function writePidFile(path: string, pid: number): void {
  mkdirSync(dirname(resolve(path)), { recursive: true });
  writeFileSync(path, String(pid));
}

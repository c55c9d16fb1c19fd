// create: everything but the program itself. The container's first process waits at its gate, and nothing of cricket
// stays beside it: it becomes the child of the caller's subreaper, which is how engines learn of its end.
import { mkdirSync, realpathSync, statSync, writeFileSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { writeFileAtomic } from "../../base/atomic-file.ts";
import { CleanupStack } from "../../base/cleanup-stack.ts";
import { failedPrecondition, invalidArgument } from "../../base/errors.ts";
import { joinTasks } from "../../linux/cgroup/cgroup-join.ts";
import type { CgroupHold } from "../../linux/cgroup/cgroup-manager.ts";
import { giveCgroup } from "../../linux/cgroup/cgroup-owner.ts";
import type { CgroupResources } from "../../linux/cgroup/cgroup-resources.ts";
import { AT_FDCWD, close } from "../../linux/files.ts";
import { listenAtGate } from "../../linux/gate.ts";
import type { LaunchProgram } from "../../linux/launch-program.ts";
import { cloneMount } from "../../linux/mount.ts";
import { findMount, readMountinfo } from "../../linux/mountinfo.ts";
import { signalPidfd } from "../../linux/pidfd.ts";
import { processStartTime } from "../../linux/proc.ts";
import { type DetachedProcess, spawnDetached } from "../../linux/spawn-detached.ts";
import { cgroupViewOf } from "../cgroup-view.ts";
import { compileContainer } from "../compile-container.ts";
import { wantsSharedMounts } from "../shared-mounts.ts";
import { compileSeccomp } from "../compile-seccomp.ts";
import type { Process, Spec } from "../spec.ts";
import { assertHostCan } from "./check-host.ts";
import { cgroupOwner } from "../user-namespace.ts";
import { cgroupPathOf, cgroupResourcesOf, deviceRulesOf } from "./cgroup-limits.ts";
import { ConsoleSocket } from "./console-socket.ts";
import { PidfdSocket } from "./pidfd-socket.ts";
import type { ContainerState } from "./container-store.ts";
import { findDeviceNodes } from "./device-nodes.ts";
import { LaunchDescriptors, keptDescriptors, openNamespaces } from "./descriptors.ts";
import { CreateHooks } from "./create-hooks.ts";
import { explainFailure } from "./explain-failure.ts";
import { environmentOf } from "./home.ts";
import { prepareIntelRdt } from "./intel-rdt.ts";
import type { MovedNetDevices } from "./net-devices.ts";
import { readBundle } from "./read-bundle.ts";
import { cgroupsOf, type Runtime } from "./runtime.ts";
import { traceLaunch } from "./trace-launch.ts";
import { sendListener } from "../seccomp-listener.ts";

export interface CreateOptions {
  id: string;
  /** A directory with config.json. */
  bundle: string;
  pidFile?: string | undefined;
  consoleSocket?: string | undefined;
  pidfdSocket?: string | undefined;
  /** How many descriptors from 3 on the program gets. */
  preserveFds: number;
  /** How many of those before them a service manager passed; the program is told in its environment. */
  listenFds: number;
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
  const { value: spec, warnings } = readBundle(bundle, runtime.strict);
  checkOptions(spec, options);
  assertHostCan(spec);
  using devices = await netDevicesOf(spec);
  using console = ConsoleSocket.open(options.consoleSocket);
  using pidfds = PidfdSocket.open(options.pidfdSocket);
  const undo = new CleanupStack();
  const hooks = new CreateHooks(spec);
  undo.defer("run poststop hooks", () => hooks.undo());
  store.reserve(options.id);
  undo.defer("remove the directory", () => store.remove(options.id));
  try {
    const state = firstState(options.id, bundle, spec, await cgroupPlaceOf(runtime, options.id, spec));
    if (options.noNewKeyring) state.noNewKeyring = true;
    store.save(state);
    store.saveSpec(options.id, spec);
    const hold = await prepareCgroup(runtime, state, spec, undo);
    const { intelRdt } = spec.linux ?? {};
    const rdtTasks = intelRdt === undefined ? [] : prepareIntelRdt(state.id, intelRdt, undo);
    undo.defer("bring the network devices back", () => devices?.moveBack());
    const process = await launch(runtime, { state, spec, options, devices, hooks, rdtTasks });
    undo.defer("kill the process", () => void signalPidfd(process.pidfd, 9));
    await hold.release();
    state.process = { pid: process.pid, startTimeTicks: processStartTime(process.pid) };
    handOut(process, console);
    pidfds?.send(process.pidfd, "standard");
    store.save(state);
    if (options.pidFile !== undefined) writePidFile(options.pidFile, process.pid);
    undo.keep();
    const { pidfd, pty } = process;
    return { state, spec, pidfd, pty, warnings: [...warnings, ...process.warnings] };
  } catch (error) {
    throw await undo.fail(explainFailure(error, spec.process));
  }
}

/** Loaded when it is needed: netlink costs every start of the command line a few milliseconds. */
async function netDevicesOf({ linux }: Spec): Promise<MovedNetDevices | undefined> {
  if (Object.keys(linux?.netDevices ?? {}).length === 0) return undefined;
  const { MovedNetDevices: Devices } = await import("./net-devices.ts");
  return new Devices();
}

function checkOptions(spec: Spec, options: CreateOptions): void {
  const terminal = spec.process?.terminal === true;
  if (spec.root === undefined) throw invalidArgument("root is missing");
  if (terminal && options.consoleSocket === undefined && !options.keepsTerminal)
    throw invalidArgument("process.terminal: a detached process needs --console-socket");
  if (!terminal && options.consoleSocket !== undefined)
    throw invalidArgument("--console-socket: process.terminal is not set");
}

type CgroupPlace = Pick<ContainerState, "cgroupPath" | "cgroupManager">;

export async function cgroupPlaceOf({ usesSystemd }: Runtime, id: string, spec: Spec): Promise<CgroupPlace> {
  const path = spec.linux?.cgroupsPath;
  if (!usesSystemd) return { cgroupPath: cgroupPathOf(id, path) };
  const { scopePathOf } = await import("./systemd-cgroups.ts");
  const { systemdRoot } = await import("../../linux/systemd/unit-names.ts");
  return { cgroupPath: scopePathOf(id, path, systemdRoot()), cgroupManager: "systemd" };
}

export function firstState(id: string, bundle: string, spec: Spec, place: CgroupPlace): ContainerState {
  const path = spec.root?.path ?? "";
  return {
    version: 1,
    id,
    ociVersion: spec.ociVersion,
    bundle,
    rootfs: isAbsolute(path) ? path : join(bundle, path),
    ...place,
    created: new Date().toISOString(),
    annotations: spec.annotations ?? {},
    owner: "root",
  };
}

export async function prepareCgroup(
  runtime: Runtime,
  state: ContainerState,
  spec: Spec,
  undo: CleanupStack,
): Promise<CgroupHold> {
  const { cgroupPath } = state;
  const cgroups = await cgroupsOf(runtime, state);
  if (cgroups.exists(cgroupPath) && cgroups.hasProcesses(cgroupPath))
    throw failedPrecondition(`container's cgroup is not empty: ${cgroupPath}`);
  undo.defer("remove the cgroup", async () => {
    await cgroups.kill(cgroupPath);
    await cgroups.remove(cgroupPath);
  });
  const resources = cgroupResourcesOf(spec.linux?.resources ?? {});
  const hold = await reserve(runtime, state, resources);
  undo.defer("release the cgroup", () => hold.release());
  cgroups.create(cgroupPath, resources);
  cgroups.setDevices(cgroupPath, deviceRulesOf(spec.linux ?? {}));
  const owner = cgroupOwner(spec);
  if (owner !== undefined) giveCgroup(cgroups.layout, cgroupPath, owner);
  return hold;
}

async function reserve(
  { store, systemd }: Runtime,
  { cgroupPath, cgroupManager, annotations }: ContainerState,
  resources: CgroupResources,
): Promise<CgroupHold> {
  if (cgroupManager !== "systemd") return store.cgroups.reserve(cgroupPath, resources);
  const { annotatedProperties } = await import("./systemd-cgroups.ts");
  return (await systemd()).reserve(cgroupPath, resources, annotatedProperties(annotations));
}

interface Launch {
  state: ContainerState;
  spec: Spec;
  options: CreateOptions;
  devices: MovedNetDevices | undefined;
  hooks: CreateHooks;
  /** Of the groups of resctrl that it enters. */
  rdtTasks: readonly string[];
}

async function launch(runtime: Runtime, request: Launch): Promise<DetachedProcess> {
  using descriptors = new LaunchDescriptors();
  const { state, spec, options, devices, hooks } = request;
  const { store } = runtime;
  const program = programOf(runtime, request, descriptors);
  await traceLaunch(runtime, program);
  const gate = descriptors.add(listenAtGate(store.directory(state.id)));
  const creating = (pid: number) => ({ ...store.describe(state), pid, status: "creating" as const });
  return spawnDetached(runtime.helper(), program, {
    ...(spec.process?.terminal === true ? {} : { stdio: [0, 1, 2] as const }),
    gate,
    kept: keptDescriptors(options.listenFds + options.preserveFds),
    onListener(listener, pid) {
      const { ociVersion, id, bundle, annotations } = state;
      const described = { ociVersion, id, status: "creating" as const, pid, bundle, annotations };
      sendListener(spec.linux?.seccomp, described, listener, pid);
    },
    async onSync(pid, [socket]) {
      if (socket !== undefined) await devices?.move(spec.linux?.netDevices ?? {}, pid, socket);
      return hooks.run(creating(pid));
    },
  });
}

function programOf(runtime: Runtime, request: Launch, descriptors: LaunchDescriptors): LaunchProgram {
  const { store } = runtime;
  const { state, spec, options } = request;
  const seccomp = spec.linux?.seccomp;
  const join = openNamespaces(spec.linux, descriptors);
  const userNamespace = join.find(({ types }) => types.includes("user"));
  const program = compileContainer({
    id: state.id,
    spec,
    env:
      spec.process === undefined
        ? []
        : environmentOf(withSockets(spec.process, options.listenFds), state.rootfs),
    rootfs: {
      mount: descriptors.add(cloneMount(AT_FDCWD, state.rootfs, true)),
      target: state.rootfs,
      ...parentMountOf(spec, state.rootfs),
    },
    join,
    ...(userNamespace === undefined ? {} : { userNamespace: userNamespace.fd }),
    deviceNodes: findDeviceNodes(spec.linux),
    cgroup: descriptors.use(joinTasks(store.cgroups.joinFiles(state.cgroupPath), request.rdtTasks)),
    cgroupView: cgroupViewOf(state.cgroupPath, store.cgroups.layout),
    noPivot: options.noPivot,
    withoutMonitor: true,
    ...(seccomp === undefined ? {} : { seccomp: compileSeccomp(seccomp) }),
  });
  const wanted = options.noNewKeyring
    ? { steps: program.steps.filter((step) => step.op !== "newKeyring") }
    : program;
  return runtime.strict ? allRequired(wanted) : wanted;
}

/** With --strict: a limit that cannot be set is an error. Nobody has asked for the keyring. */
export function allRequired({ steps }: LaunchProgram): LaunchProgram {
  return {
    steps: steps.map((step) => (step.op === "newKeyring" ? step : { ...step, optional: false })),
  };
}

/** As process 1 of its container, or what it takes for it: sd_listen_fds(3) compares the pid. */
function withSockets(process: Process, count: number): Process {
  if (count === 0) return process;
  return { ...process, env: [...(process.env ?? []), `LISTEN_FDS=${count}`, "LISTEN_PID=1"] };
}

function parentMountOf(spec: Spec, rootfs: string): { parentMount?: string } {
  if (!wantsSharedMounts(spec)) return {};
  // Of the rootfs itself where that is a mount point, as engines make it.
  const parentMount = findMount(readMountinfo("self"), realpathSync(rootfs))?.mountPoint;
  return parentMount === undefined ? {} : { parentMount };
}

/** The terminal is for whoever waits at --console-socket. */
function handOut(process: DetachedProcess, console: ConsoleSocket | undefined): void {
  if (process.pty === undefined || console === undefined) return;
  console.send(process.pty);
  close(process.pty);
  process.pty = undefined;
}

export function writePidFile(path: string, pid: number): void {
  mkdirSync(dirname(resolve(path)), { recursive: true });
  const isOther = statSync(path, { throwIfNoEntry: false })?.isFile() === false;
  // Whoever waits for the file finds the whole pid in it. A pipe stays what it is.
  if (isOther) writeFileSync(path, String(pid));
  else writeFileAtomic(path, String(pid), { mode: 0o644 });
}

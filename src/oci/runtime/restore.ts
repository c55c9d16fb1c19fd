// restore: a container whose processes come from a checkpoint. Directory and cgroup are made as by `create`; what is in
// the container is made by criu.
import { rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { CleanupStack } from "../../base/cleanup-stack.ts";
import { CricketError, failedPrecondition, invalidArgument } from "../../base/errors.ts";
import { AT_FDCWD, close } from "../../linux/files.ts";
import { cloneMount } from "../../linux/mount.ts";
import { openPidfd } from "../../linux/pidfd.ts";
import { processStartTime } from "../../linux/proc.ts";
import { becomeSubreaper } from "../../linux/reap.ts";
import { spawnDetached } from "../../linux/spawn-detached.ts";
import type { Spec } from "../spec.ts";
import { userNamespaceKind } from "../user-namespace.ts";
import { ConsoleSocket } from "./console-socket.ts";
import type { ContainerState } from "./container-store.ts";
import { cgroupPlaceOf, firstState, prepareCgroup, writePidFile } from "./create.ts";
import { CreateHooks } from "./create-hooks.ts";
import { awaitCriu } from "./criu-process.ts";
import { criuFailure, findCriu, OpenDirectories, readDescriptors } from "./criu-program.ts";
import { restoreLog, restoreRequest, type CriuOptions, type CriuPlaces } from "./criu-request.ts";
import { CriuSession, type CriuNotification } from "./criu-session.ts";
import { deleteContainer } from "./delete.ts";
import { LaunchDescriptors } from "./descriptors.ts";
import { makeMountPoints } from "./mount-points.ts";
import { readBundle } from "./read-bundle.ts";
import { checkRestorable, firstKeptFd, letSearch, planRestore, restoreProgram } from "./restore-plan.ts";
import type { Runtime } from "./runtime.ts";

export interface RestoreOptions extends CriuOptions {
  id: string;
  /** A directory with config.json. */
  bundle: string;
  pidFile: string | undefined;
  consoleSocket: string | undefined;
  /** A terminal without --console-socket is the caller's to relay. */
  keepsTerminal: boolean;
  emptyNetwork: boolean;
  autoDedup: boolean;
  lsmProfile: string | undefined;
  lsmMountContext: string | undefined;
}

export interface RestoredContainer {
  pid: number;
  /** The caller closes it, and the next. */
  pidfd: number;
  /** The master of the terminal, where it is the caller's. */
  pty: number | undefined;
  warnings: readonly string[];
}

/**
 * This process becomes the subreaper of what it restores. A container of that id that has stopped, as its checkpoint
 * leaves it, makes room.
 * @throws CricketError; then nothing is left
 */
export async function restoreContainer(
  runtime: Runtime,
  options: RestoreOptions,
  places: CriuPlaces,
): Promise<RestoredContainer> {
  const { store } = runtime;
  const bundle = resolve(options.bundle);
  const { value: spec, warnings } = readBundle(bundle, runtime.strict);
  const criu = findCriu();
  using directories = new OpenDirectories(places);
  const streams = readDescriptors(places.images);
  const more = checkRestorable(spec);
  checkTerminal(spec, options);
  using console = options.consoleSocket === undefined ? undefined : new ConsoleSocket(options.consoleSocket);
  const before = store.find(options.id);
  if (before !== undefined && store.status(before) === "stopped")
    more.push(...(await deleteContainer(runtime, options.id, false)));
  const undo = new CleanupStack();
  const hooks = new CreateHooks(spec);
  undo.defer("run poststop hooks", () => hooks.undo());
  store.reserve(options.id);
  undo.defer("remove the directory", () => store.remove(options.id));
  try {
    const state = firstState(options.id, bundle, spec, await cgroupPlaceOf(runtime, options.id, spec));
    store.save(state);
    store.saveSpec(options.id, spec);
    const hold = await prepareCgroup(runtime, state, spec, undo);
    makeMountPoints(state.rootfs, spec);
    const { pid, pty } = await runCriu(runtime, {
      criu,
      state,
      spec,
      streams,
      options,
      places,
      directories,
      hooks,
    });
    if (pty !== undefined) undo.defer("close the terminal", () => close(pty));
    await hold.release();
    const pidfd = openPidfd(pid);
    undo.defer("close the pidfd", () => close(pidfd));
    state.process = { pid, startTimeTicks: processStartTime(pid) };
    store.save(state);
    if (options.pidFile !== undefined) writePidFile(options.pidFile, pid);
    if (pty !== undefined) console?.send(pty);
    undo.keep();
    if (pty !== undefined && console !== undefined) close(pty);
    return { pid, pidfd, pty: console === undefined ? pty : undefined, warnings: [...warnings, ...more] };
  } catch (error) {
    throw await undo.fail(error);
  }
}

function checkTerminal({ process }: Spec, { consoleSocket, keepsTerminal }: RestoreOptions): void {
  const terminal = process?.terminal === true;
  if (terminal && consoleSocket === undefined && !keepsTerminal)
    throw invalidArgument("process.terminal: a detached process needs --console-socket");
  if (!terminal && consoleSocket !== undefined)
    throw invalidArgument("--console-socket: process.terminal is not set");
}

interface CriuRun {
  criu: string;
  state: ContainerState;
  spec: Spec;
  streams: readonly (string | undefined)[];
  options: RestoreOptions;
  places: CriuPlaces;
  directories: OpenDirectories;
  hooks: CreateHooks;
}

interface Restored {
  pid: number;
  pty: number | undefined;
}

async function runCriu(runtime: Runtime, run: CriuRun): Promise<Restored> {
  const { criu, state, spec, streams, options, places, directories } = run;
  const { layout } = runtime.store.cgroups;
  using descriptors = new LaunchDescriptors();
  const place = { spec, rootfs: state.rootfs, cgroupPath: state.cgroupPath, layout, streams };
  // Standard input, output and error of the caller follow the session, the namespaces follow them.
  const streamFds = [firstKeptFd, firstKeptFd + 1, firstKeptFd + 2] as const;
  const { plan, kept } = planRestore({ ...place, streamFds: [...streamFds] }, firstKeptFd + 3, descriptors);
  const log = join(places.work, restoreLog);
  rmSync(log, { force: true });
  becomeSubreaper();
  const mount = descriptors.add(cloneMount(AT_FDCWD, state.rootfs, true));
  using _searchable = userNamespaceKind(spec.linux) === "none" ? undefined : letSearch(directories.images);
  using session = new CriuSession();
  const program = restoreProgram(criu, places.work, [{ mount, target: state.rootfs }]);
  const child = await spawnDetached(runtime.helper(), program, {
    kept: [session.theirs, 0, 1, 2, ...kept],
  });
  session.closeTheirs();
  let pty: number | undefined;
  try {
    const { emptyNetwork, autoDedup, lsmProfile, lsmMountContext } = options;
    const more = { emptyNetwork, autoDedup, lsmProfile, lsmMountContext, sibling: false };
    const pid = await session.call({
      type: "restore",
      options: restoreRequest(options, directories, { ...plan, ...more }),
      onNotify: async (notification) => {
        pty = notification.descriptor ?? pty;
        await onNotify(runtime, run, notification);
      },
    });
    if (pid === undefined) throw new CricketError("internal", "criu restore names no process");
    if (spec.process?.terminal === true && pty === undefined)
      throw failedPrecondition("process.terminal: the checkpoint is of a container without a terminal");
    return { pid, pty };
  } catch (error) {
    if (pty !== undefined) close(pty);
    throw criuFailure("restore", log, error);
  } finally {
    session[Symbol.dispose]();
    await awaitCriu(child);
  }
}

/** As with runc: hooks of the runtime's namespaces run when the container's are there. */
async function onNotify(
  { store }: Runtime,
  { state, hooks }: CriuRun,
  { script, pid = 0 }: CriuNotification,
): Promise<void> {
  if (script === "setup-namespaces") await hooks.run({ ...store.describe(state), pid, status: "creating" });
}

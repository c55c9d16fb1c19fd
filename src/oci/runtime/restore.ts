// restore: a container whose processes come from a checkpoint. Directory and cgroup are made as by `create`; what is in
// the container is made by criu, in a mount namespace of its own, so that no mount is left when something fails.
import { fchmodSync, fstatSync, openSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { CleanupStack } from "../../base/cleanup-stack.ts";
import { CricketError, failedPrecondition, invalidArgument } from "../../base/errors.ts";
import type { CgroupLayout } from "../../linux/cgroup/layout.ts";
import { AT_FDCWD, close, O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "../../linux/files.ts";
import { CLONE_NEWNS, type LaunchProgram } from "../../linux/launch-program.ts";
import { cloneMount, MS_PRIVATE, MS_REC } from "../../linux/mount.ts";
import { openPidfd } from "../../linux/pidfd.ts";
import { processStartTime, readProcessCgroups } from "../../linux/proc.ts";
import { becomeSubreaper } from "../../linux/reap.ts";
import { spawnDetached } from "../../linux/spawn-detached.ts";
import { runtimeEnvironment } from "../external/runtime-command.ts";
import type { Spec } from "../spec.ts";
import { userNamespaceKind } from "../user-namespace.ts";
import type { ContainerState } from "./container-store.ts";
import { cgroupPlaceOf, firstState, prepareCgroup, writePidFile } from "./create.ts";
import { restoreArgs, type CriuOptions, type CriuPlaces } from "./criu-args.ts";
import { externalsOfRestore, joinedNamespaces } from "./criu-externals.ts";
import { criuFailure, findCriu, prepareDirectory, readDescriptors } from "./criu-program.ts";
import { deleteContainer } from "./delete.ts";
import { LaunchDescriptors, openNamespaces } from "./descriptors.ts";
import { makeMountPoints } from "./mount-points.ts";
import { readBundle } from "./read-bundle.ts";
import type { Runtime } from "./runtime.ts";
import { waitForProcess } from "./wait-process.ts";

export interface RestoreOptions extends CriuOptions {
  id: string;
  /** A directory with config.json. */
  bundle: string;
  pidFile: string | undefined;
  emptyNetwork: boolean;
}

export interface RestoredContainer {
  pid: number;
  /** The caller closes it. */
  pidfd: number;
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
  prepareDirectory(places.work, "--work-path");
  const streams = readDescriptors(places.images);
  const more = checkSpec(spec);
  const before = store.find(options.id);
  if (before !== undefined && store.status(before) === "stopped")
    more.push(...(await deleteContainer(runtime, options.id, false)));
  const undo = new CleanupStack();
  store.reserve(options.id);
  undo.defer("remove the directory", () => store.remove(options.id));
  try {
    const state = firstState(options.id, bundle, spec, await cgroupPlaceOf(runtime, options.id, spec));
    store.save(state);
    store.saveSpec(options.id, spec);
    const hold = await prepareCgroup(runtime, state, spec, undo);
    makeMountPoints(state.rootfs, spec);
    const pid = await runCriu(runtime, { criu, state, spec, streams, options, places });
    await hold.release();
    const pidfd = openPidfd(pid);
    undo.defer("close the pidfd", () => close(pidfd));
    state.process = { pid, startTimeTicks: processStartTime(pid) };
    store.save(state);
    if (options.pidFile !== undefined) writePidFile(options.pidFile, pid);
    undo.keep();
    return { pid, pidfd, warnings: [...warnings, ...more] };
  } catch (error) {
    throw await undo.fail(error);
  }
}

/** What a restore cannot give is refused before anything is made; what differs is a warning. */
export function checkSpec({ root, process, hooks = {}, linux }: Spec): string[] {
  if (root === undefined) throw invalidArgument("root is missing");
  if (process?.terminal === true)
    throw failedPrecondition("process.terminal: a container with a terminal cannot be restored");
  if (linux?.intelRdt !== undefined)
    throw failedPrecondition("linux.intelRdt: restored processes do not enter groups of resctrl");
  for (const kind of ["prestart", "createRuntime", "createContainer", "startContainer"] as const)
    if ((hooks[kind] ?? []).length > 0)
      throw failedPrecondition(`hooks.${kind}: a restore does not run the hooks of a creation`);
  return (linux?.namespaces ?? [])
    .filter(({ type, path }) => path !== undefined && !(type in joinedNamespaces))
    .map(({ type }) => `linux.namespaces: a restored container has a ${type} namespace of its own`);
}

interface CriuRun {
  criu: string;
  state: ContainerState;
  spec: Spec;
  streams: readonly (string | undefined)[];
  options: RestoreOptions;
  places: CriuPlaces;
}

/** Resolves with the pid of the container's first process. */
async function runCriu(runtime: Runtime, run: CriuRun): Promise<number> {
  const { criu, state, spec, streams, options, places } = run;
  const { store } = runtime;
  using descriptors = new LaunchDescriptors();
  const joins = openNamespaces(spec.linux, descriptors).flatMap(({ fd, types }) =>
    types.flatMap((type) =>
      type === "network" || type === "pid" ? [{ fd, key: joinedNamespaces[type] }] : [],
    ),
  );
  const log = join(places.work, "restore.log");
  rmSync(log, { force: true });
  const pidFile = join(store.directory(state.id), "restored.pid");
  const args = restoreArgs(options, places, {
    rootfs: state.rootfs,
    pidFile,
    externals: externalsOfRestore(spec, state.cgroupPath, store.cgroups.layout),
    inherited: [...pad(streams), ...joins.map(({ key }) => key)],
    cgroupRoots: cgroupRoots(state.cgroupPath, store.cgroups.layout),
    emptyNetwork: options.emptyNetwork,
  });
  becomeSubreaper();
  const rootfs = descriptors.add(cloneMount(AT_FDCWD, state.rootfs, true));
  using _searchable = userNamespaceKind(spec.linux) === "none" ? undefined : letSearch(places.images);
  const child = await spawnDetached(runtime.helper(), criuProgram([criu, ...args], state.rootfs, rootfs), {
    kept: [0, 1, 2, ...joins.map(({ fd }) => fd)],
  });
  const status = await waitForProcess(child.pid, child.pidfd);
  if (status !== 0) throw criuFailure("restore", log, `exit status ${status}`);
  return readPid(pidFile);
}

/**
 * Tasks look for images as root of their user namespace, who is somebody else here; what they have to read of them was
 * opened before. The images themselves stay root's alone.
 */
function letSearch(images: string): Disposable {
  const fd = openSync(images, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  const mode = fstatSync(fd).mode & 0o7777;
  fchmodSync(fd, mode | 0o011);
  return {
    [Symbol.dispose]() {
      fchmodSync(fd, mode);
      close(fd);
    },
  };
}

/** One for each of the three standard streams. */
const pad = (streams: readonly (string | undefined)[]): (string | undefined)[] => [
  streams[0],
  streams[1],
  streams[2],
];

/** criu changes into a root only where it is a mount point. */
function criuProgram(argv: string[], target: string, mount: number): LaunchProgram {
  return {
    steps: [
      {
        op: "fork",
        flags: CLONE_NEWNS,
        because: { why: "criu's mounts go with it", source: "man 7 mount_namespaces" },
      },
      { op: "newSession", because: { why: "no terminal and no process group of the caller's" } },
      {
        op: "setPropagation",
        path: "/",
        flags: MS_PRIVATE | MS_REC,
        because: {
          why: "nothing that is mounted here may appear on the host",
          source: "man 7 mount_namespaces",
        },
      },
      {
        op: "attachRootfs",
        mount,
        target,
        because: { why: "the root of a restore is a mount point", source: "criu(8) --root" },
      },
      {
        op: "exec",
        argv,
        env: runtimeEnvironment.map((line) => Buffer.from(line)),
        because: {
          why: "criu makes the container's processes and ends",
          source: "criu(8) --restore-detached",
        },
      },
    ],
  };
}

/** The images name the cgroups of the container that was; hierarchies that are not cricket's stay the caller's. */
export function cgroupRoots(path: string, layout: CgroupLayout): string[] {
  if (layout.kind === "v2") return [path];
  const own = layout.v1.flatMap(({ controllers }) => controllers);
  const others = [...readProcessCgroups("self")].filter(
    ([names]) => names !== "" && !own.includes(names.split(",")[0] ?? ""),
  );
  return [
    ...(layout.unified === undefined ? [] : [path]),
    ...own.map((controller) => `${controller}:${path}`),
    ...others.map(([name, place]) => `${name}:${place}`),
  ];
}

function readPid(file: string): number {
  const text = readFileSync(file, "utf8");
  rmSync(file, { force: true });
  if (!/^\d{1,10}\s*$/.test(text)) throw new CricketError("internal", `criu restore: ${file} holds no pid`);
  return Number(text);
}

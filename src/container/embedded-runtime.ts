// The embedded runtime: containers are made by launch programs, without another program.
import { CleanupStack } from "../base/cleanup-stack.ts";
import { failedPrecondition } from "../base/errors.ts";
import { failpoint } from "../base/failpoint.ts";
import type { Log } from "../base/log.ts";
import type { Paths } from "../config/paths.ts";
import type { CgroupManager } from "../linux/cgroup/cgroup-manager.ts";
import type { HelperBinary } from "../linux/helper-binary.ts";
import { isAlive } from "../linux/proc.ts";
import { startMonitor } from "../linux/start-monitor.ts";
import { explainSpec } from "../oci/explain.ts";
import { capableCriu } from "../oci/runtime/criu-version.ts";
import { findCriu, tryFindCriu } from "../oci/runtime/criu-program.ts";
import { removeIntelRdt } from "../oci/runtime/intel-rdt.ts";
import { dumpProcesses } from "../oci/runtime/dump.ts";
import { loadBundle } from "./bundle.ts";
import { waitsForRestore } from "./container-record.ts";
import type { CheckpointRun, ContainerRuntime, LaunchedContainer } from "./container-runtime.ts";
import type { Container } from "./container-store.ts";
import { LaunchSync } from "./launch-sync.ts";
import { prepareExec } from "./prepare-exec.ts";
import { cgroupLimits, prepareLaunch, type LaunchRequest } from "./prepare-launch.ts";
import { prepareRestore } from "./prepare-restore.ts";
import { restoreProcesses } from "./restore-container.ts";
import { signalInit } from "./signal-init.ts";

export interface EmbeddedRuntimeParts {
  cgroups: CgroupManager;
  helper: HelperBinary;
  paths: Paths;
  log: Log;
  /** Where resctrl is; undefined: wherever it is mounted. */
  resctrl: string | undefined;
}

export function embeddedRuntime(parts: EmbeddedRuntimeParts): ContainerRuntime {
  const { cgroups, helper, paths, log } = parts;
  return {
    launch: (request) => launch(request, log),
    prepareRestore,
    restore: async (request, signal) => restoreProcesses(request, await capableCriu(helper), signal),
    start: (_container, monitor) => monitor.start(),
    hasStarted: (_container, monitor) => Promise.resolve(monitor.started),
    prepareExec: ({ container, command, terminal }, parts) =>
      prepareExec(container, command, parts, terminal),
    signal: ({ record }, signal) => Promise.resolve(signalInit(record, signal)),
    kill: async ({ record }) => void (await cgroups.kill(record.cgroupPath)),
    update: async ({ record }, resources, more) => {
      if (waitsForRestore(record)) throw failedPrecondition("it has no cgroup before it is restored");
      await cgroups.updateResources(record.cgroupPath, { ...resources, ...more });
    },
    // The rootfs goes with the container's mount namespace.
    release: async ({ id, intelRdt }) => removeIntelRdt(id, intelRdt, parts.resctrl),
    missingForCheckpoints: () => (tryFindCriu() === undefined ? "criu is not installed" : undefined),
    checkpoint: (container, run) => checkpoint(container, run, parts),
    explain: (container) =>
      explainSpec(loadBundle(container, paths).spec, parts.helper.emptyNamespace !== undefined),
  };
}

/** Connections that are open and locks on files would keep most servers from being checkpointed. */
const dumpOptions = {
  leaveRunning: true,
  tcpEstablished: true,
  fileLocks: true,
  extUnixSk: false,
  shellJob: false,
  manageCgroups: "soft",
  preDump: false,
  parentPath: undefined,
  autoDedup: false,
  emptyNetwork: false,
  pageServer: undefined,
  statusFd: undefined,
  lazyPages: false,
} as const;

async function checkpoint(
  container: Container,
  { whileStopped, signal, ...places }: CheckpointRun,
  { helper, paths }: EmbeddedRuntimeParts,
): Promise<void> {
  const { init } = container.record;
  if (init === undefined || !isAlive(init.pid, init.startTimeTicks))
    throw failedPrecondition("its first process has ended");
  const { spec } = loadBundle(container, paths);
  await dumpProcesses({
    helper,
    criu: findCriu(),
    pid: init.pid,
    spec,
    options: dumpOptions,
    places,
    whileStopped,
    signal,
  });
}

async function launch(request: LaunchRequest, log: Log): Promise<LaunchedContainer> {
  const { container, parts } = request;
  const hold = await parts.cgroups.reserve(container.record.cgroupPath, cgroupLimits(container, parts));
  try {
    failpoint("create-container/cgroup-reserved");
    return await launchInCgroup(request, log);
  } finally {
    await hold.release();
  }
}

async function launchInCgroup(request: LaunchRequest, log: Log): Promise<LaunchedContainer> {
  using prepared = await prepareLaunch(request);
  const { container, parts } = request;
  const { id, config, logPath } = container.record;
  using sync = new LaunchSync(container, parts.paths);
  const cleanup = new CleanupStack();
  cleanup.defer("move network devices back", () => sync.undo());
  try {
    const monitor = await startMonitor(parts.helper, prepared.program, {
      containerDir: parts.paths.containerDir(id),
      logPath: logPath === "" ? undefined : logPath,
      stdin: config.stdin,
      stdinOnce: config.stdinOnce,
      maxLogLineBytes: parts.facts.logMaxLineBytes,
      oomEvents: prepared.oomEvents,
      oomParentEvents: prepared.oomParentEvents,
      killCgroup: prepared.killCgroup,
      onListener: prepared.onListener,
      onSync: (pid, sockets) => sync.run(pid, sockets),
    });
    for (const warning of monitor.warnings) log.debug("container launch", { id, warning });
    return { monitor, user: prepared.user, rawEnv: prepared.rawEnv, hooks: prepared.hooks };
  } catch (error) {
    throw await cleanup.fail(error);
  }
}

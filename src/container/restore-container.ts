// StartContainer of a container from a checkpoint: criu makes its processes, under a monitor that adopts what it leaves
// (pause/adopt.c), in the pod's namespaces and the container's cgroup. Nothing of them runs before it was looked at.
import { constants, copyFileSync, openSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CricketError, errnoOf, failedPrecondition, LaunchError } from "../base/errors.ts";
import { failpoint } from "../base/failpoint.ts";
import type { CgroupManager } from "../linux/cgroup/cgroup-manager.ts";
import { close, fdPath, O_CLOEXEC, O_DIRECTORY, O_PATH } from "../linux/files.ts";
import type { Monitor } from "../linux/monitor.ts";
import { startMonitor } from "../linux/start-monitor.ts";
import type { Spec } from "../oci/spec.ts";
import { cgroupResourcesOf } from "../oci/runtime/cgroup-limits.ts";
import { ConsoleSocket } from "../oci/runtime/console-socket.ts";
import { criuFailure, OpenDirectories, readDescriptors } from "../oci/runtime/criu-program.ts";
import {
  restoreLog,
  restoreRequest,
  type CriuOptions,
  type RestorePlan,
} from "../oci/runtime/criu-request.ts";
import { CriuSession, type CriuNotification } from "../oci/runtime/criu-session.ts";
import { LaunchDescriptors } from "../oci/runtime/descriptors.ts";
import { makeMountPoints } from "../oci/runtime/mount-points.ts";
import {
  firstKeptFd,
  planRestore,
  restoreProgram,
  type PlannedRestore,
} from "../oci/runtime/restore-plan.ts";
import { loadBundle } from "./bundle.ts";
import { assertRestored } from "./check-restored.ts";
import { layout } from "./checkpoint-layout.ts";
import { runCreateHooks } from "./oci-hooks.ts";
import { cgroupLimits, mountRootfs, prepareCgroup, type LaunchRequest } from "./prepare-launch.ts";
import { checkpointDirectory } from "./prepare-restore.ts";

/** As a checkpoint of ours is made; criu ignores what the images have nothing of. */
const criuOptions: CriuOptions = {
  tcpEstablished: true,
  fileLocks: true,
  extUnixSk: false,
  shellJob: false,
  manageCgroups: "soft",
  lazyPages: false,
};

const restoreTimeoutMs = 600_000;

export async function restoreProcesses(
  request: LaunchRequest,
  criu: string,
  signal: AbortSignal,
): Promise<Monitor> {
  const { container, parts } = request;
  const hold = await parts.cgroups.reserve(container.record.cgroupPath, cgroupLimits(container, parts));
  try {
    return await restoreInCgroup(request, criu, signal);
  } finally {
    await hold.release();
  }
}

async function restoreInCgroup(request: LaunchRequest, criu: string, stop: AbortSignal): Promise<Monitor> {
  const { container, parts } = request;
  const { record } = container;
  const { spec } = loadBundle(container, parts.paths);
  const work = join(parts.paths.containerLayerDir(record.id), checkpointDirectory);
  const images = join(work, layout.images);
  using directories = new OpenDirectories({ images, work });
  using descriptors = new LaunchDescriptors();
  const limits = { ...cgroupLimits(container, parts), ...cgroupResourcesOf(spec.linux?.resources ?? {}) };
  const cgroup = await prepareCgroup(container, { spec, limits }, parts, descriptors);
  const rootfs = descriptors.add(mountRootfs(request));
  makeMountPoints(fdPath(rootfs), spec);
  using session = new CriuSession();
  const target = parts.paths.containerRootfs(record.id);
  const { plan, kept } = planRestore(
    {
      spec,
      rootfs: target,
      cgroupPath: record.cgroupPath,
      layout: parts.cgroups.layout,
      streams: readDescriptors(images),
      streamFds: [0, 1, 2],
    },
    firstKeptFd,
    descriptors,
  );
  takeLog(work, record.logPath);
  failpoint("start-container/restoring");
  const signal = AbortSignal.any([stop, AbortSignal.timeout(restoreTimeoutMs)]);
  const watch = new RestoreWatch(request, spec);
  const monitor = startMonitor(parts.helper, restoreProgram(criu, work, [{ mount: rootfs, target }]), {
    containerDir: parts.paths.containerDir(record.id),
    logPath: record.logPath === "" ? undefined : record.logPath,
    stdin: record.config.stdin,
    stdinOnce: record.config.stdinOnce,
    maxLogLineBytes: parts.facts.logMaxLineBytes,
    oomEvents: cgroup.oomEvents,
    oomParentEvents: cgroup.oomParentEvents,
    killCgroup: cgroup.join.killFile,
    adopts: { console: record.config.tty },
    kept: [session.theirs, ...kept],
    signal: AbortSignal.any([signal, watch.denied]),
  });
  session.closeTheirs();
  const restored = session.call({
    type: "restore",
    options: restoreRequest(criuOptions, directories, { ...plan, ...ownPlan(spec) }),
    onNotify: (notification) => watch.onNotify(notification),
  });
  // The monitor may know first that it went wrong, but not why.
  const [call, adopted] = await Promise.allSettled([restored, monitor]);
  if (call.status === "fulfilled" && adopted.status === "fulfilled") return adopted.value;
  if (adopted.status === "fulfilled") adopted.value.detach();
  if (watch.denied.aborted) throw watch.denied.reason;
  throw failureOf(call, adopted, { criu, log: join(work, restoreLog), signal });
}

/** In its own words where it left some. */
function failureOf(
  call: PromiseSettledResult<unknown>,
  adopted: PromiseSettledResult<unknown>,
  { criu, log, signal }: { criu: string; log: string; signal: AbortSignal },
): unknown {
  if (signal.aborted)
    return new CricketError("deadline-exceeded", "criu restore: stopped before it was done");
  const error: unknown = adopted.status === "rejected" ? adopted.reason : undefined;
  if (error instanceof LaunchError) {
    if (error.step === "exec") return failedPrecondition(`execve ${criu}: ${error.errno}`);
    // Anything else failed in criu, or before it ran.
    if (error.errno !== "ECANCELED") return error;
  }
  return call.status === "rejected" ? criuFailure("restore", log, call.reason) : error;
}

/** Labels are the request's; the processes are the monitor's from the start. */
function ownPlan({ process, linux }: Spec): Omit<RestorePlan, keyof PlannedRestore> {
  return {
    emptyNetwork: false,
    autoDedup: false,
    sibling: true,
    lsmProfile: lsmProfileOf(process?.apparmorProfile, process?.selinuxLabel),
    lsmMountContext: linux?.mountLabel,
  };
}

function lsmProfileOf(apparmor: string | undefined, selinux: string | undefined): string | undefined {
  if (apparmor !== undefined && apparmor !== "") return `apparmor:${apparmor}`;
  return selinux === undefined || selinux === "" ? undefined : `selinux:${selinux}`;
}

/** What criu tells while it works. */
class RestoreWatch {
  readonly #request: LaunchRequest;
  readonly #spec: Spec;
  readonly #denied = new AbortController();
  #init = 0;
  #hasTerminal = false;

  constructor(request: LaunchRequest, spec: Spec) {
    this.#request = request;
    this.#spec = spec;
  }

  /** Aborted with the error when the processes have more than they may. */
  get denied(): AbortSignal {
    return this.#denied.signal;
  }

  async onNotify({ script, pid, descriptor }: CriuNotification): Promise<void> {
    const { container, parts } = this.#request;
    this.#init = pid ?? this.#init;
    if (descriptor !== undefined) this.#giveTerminal(descriptor);
    if (script === "setup-namespaces") await runCreateHooks(container, this.#init, parts.paths);
    // Here, because the monitor looks for it as soon as criu has ended.
    if (script === "post-restore") {
      if (container.record.config.tty !== this.#hasTerminal)
        throw failedPrecondition(
          `config.tty: the checkpoint is of a container with${this.#hasTerminal ? "" : "out"} a terminal`,
        );
      writeFileSync(join(parts.paths.containerDir(container.id), "pid"), String(this.#init), { mode: 0o600 });
    }
    if (script === "pre-resume") await this.#check(parts.cgroups);
  }

  #giveTerminal(master: number): void {
    const { container, parts } = this.#request;
    try {
      this.#hasTerminal = true;
      if (!container.record.config.tty) return;
      using descriptors = new LaunchDescriptors();
      // By descriptor: the path may be too long for a socket's.
      const directory = descriptors.add(
        openSync(parts.paths.containerDir(container.id), O_PATH | O_DIRECTORY | O_CLOEXEC),
      );
      using console = new ConsoleSocket(`${fdPath(directory)}/console.sock`);
      console.send(master);
    } finally {
      close(master);
    }
  }

  /**
   * criu goes on whatever it is told here, so what must not run is killed where it stands, and criu with it: it may wait
   * for ever for processes that are gone.
   */
  async #check(cgroups: CgroupManager): Promise<void> {
    const { cgroupPath } = this.#request.container.record;
    try {
      assertRestored({ init: this.#init, members: cgroups.pids(cgroupPath), spec: this.#spec });
    } catch (error) {
      const killed = cgroups.kill(cgroupPath);
      this.#denied.abort(error);
      await killed;
      throw error;
    }
  }
}

/** What the container had written before, in front of what it will. Never over a log that is there. */
function takeLog(work: string, logPath: string): void {
  if (logPath === "") return;
  for (const name of layout.logs) {
    try {
      return copyFileSync(join(work, name), logPath, constants.COPYFILE_EXCL);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === "EEXIST") return;
      if (errno !== "ENOENT") throw error;
    }
  }
}

/** They are of no use any more, and large. */
export function dropCheckpoint(layerDirectory: string): void {
  rmSync(join(layerDirectory, checkpointDirectory), { recursive: true, force: true });
}

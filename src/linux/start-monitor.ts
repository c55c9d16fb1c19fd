// Starts a container's monitor, or finds it again through monitor.sock after a restart of the daemon.
import { closeSync, openSync } from "node:fs";
import type { Socket } from "node:net";
import { kill as signalProcess } from "node:process";
import { connectMonitorSocket } from "./connect-monitor-socket.ts";
import { ControlConnection } from "./control-connection.ts";
import { describeReport, launchErrorOf, reportOf } from "./describe-step.ts";
import { close, O_CLOEXEC, O_DIRECTORY, O_PATH } from "./files.ts";
import { decodeHello, decodeNumber, frameType } from "./frames.ts";
import { giveListener, type OnListener } from "./give-listener.ts";
import type { HelperBinary } from "./helper-binary.ts";
import type { Descriptor, LaunchProgram } from "./launch-program.ts";
import { Monitor } from "./monitor.ts";
import { reapSoon } from "./reap.ts";
import { type HandedDescriptor, handedOver } from "./sockets.ts";
import type { Adoption } from "./encode-program.ts";
import { type HelperProcess, spawnHelper } from "./spawn-helper.ts";
import { CricketError, errnoOf, wrapError } from "../base/errors.ts";

export interface MonitorOptions {
  /** An existing directory, 0700: monitor.sock and the exit file are made there. */
  containerDir: string;
  /** Absolute path of the CRI log, in an existing directory; undefined keeps no log. */
  logPath?: string | undefined;
  /** Keep a pipe (or the pty) open as the container's stdin for attach clients; otherwise it reads /dev/null. */
  stdin?: boolean;
  /** Close that stdin when the first client that attached to it leaves. */
  stdinOnce?: boolean;
  /** Content bytes of one log line; longer ones are split and tagged P. Default 16384, at most 1 MiB. */
  maxLogLineBytes?: number;
  /** How long an attached client that reads nothing may hold up the container's output. Default 5000. */
  attachStallMs?: number;
  /** memory.events (cgroup v2) or memory.oom_control (v1), open for reading. */
  oomEvents?: Descriptor | undefined;
  /** The same of the cgroup above, for a cgroup that somebody else removes as soon as it is empty. */
  oomParentEvents?: Descriptor | undefined;
  /** cgroup.kill of the container's cgroup, open for writing: what remains of it dies with its first process. */
  killCgroup?: Descriptor | undefined;
  onListener?: OnListener | undefined;
  /**
   * Called at a `sync` step with the pid of the process and what `sendSocket` steps have handed over, which is the
   * callee's to close. It leaves the container's state in `stateFile` for the hooks of the program. When it rejects, so
   * does the launch, and its process ends.
   */
  onSync?: ((pid: number, sockets: readonly number[]) => Promise<void>) | undefined;
  /** The program runs another OCI runtime and has no `waitGate`. */
  adopts?: Adoption | undefined;
  /** What such a program gets as descriptors 3, 4, ... */
  kept?: readonly Descriptor[] | undefined;
  /** Aborting gives up on a runtime that does not end: what it has begun is killed. */
  signal?: AbortSignal | undefined;
}

/** Name in the container's directory: what hooks of the program get as their input. */
export const stateFile = "state.json";

const defaultLogLineBytes = 16_384;
const defaultAttachStallMs = 5_000;

/**
 * Runs `program` (which has a `fork` and a `waitGate`) under a new monitor and resolves when the container's first
 * process waits at the gate. Rejects with LaunchError for the step that failed, CricketError otherwise; then no process
 * and no socket is left. The monitor is a child of this process and is reaped by it; the descriptors of the program and
 * options may be closed once this has settled.
 */
export function startMonitor(
  helper: HelperBinary,
  program: LaunchProgram,
  options: MonitorOptions,
): Promise<Monitor> {
  let process: HelperProcess;
  try {
    process = spawnMonitor(helper, program, options);
  } catch (error) {
    return Promise.reject(error as Error);
  }
  return awaitGate(process, program, options);
}

function spawnMonitor(helper: HelperBinary, program: LaunchProgram, options: MonitorOptions): HelperProcess {
  const containerDir = openSync(options.containerDir, O_PATH | O_DIRECTORY | O_CLOEXEC);
  try {
    return spawnHelper(helper, program, {
      type: "monitor",
      containerDir,
      oomEvents: options.oomEvents,
      oomParentEvents: options.oomParentEvents,
      killCgroup: options.killCgroup,
      stdin: options.stdin ?? false,
      stdinOnce: options.stdinOnce ?? false,
      maxLogLineBytes: options.maxLogLineBytes ?? defaultLogLineBytes,
      attachStallMs: options.attachStallMs ?? defaultAttachStallMs,
      logPath: options.logPath ?? "",
      adopts: options.adopts,
      kept: options.kept,
    });
  } finally {
    closeSync(containerDir);
  }
}

function awaitGate(
  process: HelperProcess,
  program: LaunchProgram,
  { containerDir, signal, onListener, onSync }: MonitorOptions,
): Promise<Monitor> {
  return new Promise((resolve, reject) => {
    const warnings: string[] = [];
    const handed: HandedDescriptor[] = [];
    let failure: Error | undefined;
    const synchronize = async (pid: number): Promise<void> => {
      try {
        const all = [...handed.splice(0), ...(process.channel?.takeAll() ?? [])];
        handed.push(...all.filter(({ kind }) => kind !== handedOver.socket));
        const sockets = all.filter(({ kind }) => kind === handedOver.socket);
        await onSync?.(
          pid,
          sockets.map(({ fd }) => fd),
        );
        connection.send(frameType.synced);
      } catch (error) {
        failure ??= error as Error;
        connection.send(frameType.kill);
      }
    };
    const connection: ControlConnection = new ControlConnection(process.control, {
      onFrame(frame) {
        if (frame.type === frameType.warning) warnings.push(describeReport(program, reportOf(frame)));
        else if (frame.type === frameType.failed) failure ??= launchErrorOf(program, reportOf(frame));
        else if (frame.type === frameType.sync) void synchronize(decodeNumber(frame.payload));
        else if (frame.type === frameType.listener) {
          try {
            handed.push(...giveListener(process, frame, onListener));
          } catch (error) {
            failure ??= error as Error;
            // Its container dies with it.
            signalProcess(process.pid, "SIGKILL");
          }
        } else if (frame.type === frameType.hello && failure === undefined) {
          signal?.removeEventListener("abort", abandon);
          const descriptors = takeDescriptors(process, handed);
          const hello = decodeHello(frame.payload);
          const monitor = new Monitor({ containerDir, connection, hello, program, warnings, descriptors });
          process.control.once("close", () => reapSoon(process.pid));
          resolve(monitor);
        }
      },
      onClose(error) {
        reapSoon(process.pid);
        for (const { fd } of handed) close(fd);
        process.channel?.close();
        signal?.removeEventListener("abort", abandon);
        reject(failure ?? error ?? new CricketError("internal", "launch: the monitor was killed"));
      },
    });
    // The monitor kills the runtime and what that has made, and leaves.
    const abandon = (): void => {
      failure ??= new CricketError("deadline-exceeded", "the runtime did not end in time");
      connection.send(frameType.kill);
    };
    signal?.addEventListener("abort", abandon);
  });
}

function takeDescriptors(process: HelperProcess, handed: HandedDescriptor[]): number[] {
  const descriptors = [...handed.splice(0), ...(process.channel?.takeAll() ?? [])];
  process.channel?.close();
  return descriptors.map(({ fd }) => fd);
}

/**
 * Finds the monitor of a container again. Rejects with CricketError "not-found" when none is there: then the exit file
 * tells how the container ended, or its monitor was killed.
 */
export async function connectMonitor(containerDir: string): Promise<Monitor> {
  let socket: Socket;
  try {
    socket = await connectMonitorSocket(containerDir);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT" || errno === "ECONNREFUSED") throw notThere(containerDir);
    throw wrapError(`connect to the monitor in ${containerDir}`, error);
  }
  return new Promise((resolve, reject) => {
    const connection = new ControlConnection(socket, {
      onFrame(frame) {
        if (frame.type !== frameType.hello) return;
        resolve(new Monitor({ containerDir, connection, hello: decodeHello(frame.payload) }));
      },
      onClose: (error) => reject(error ?? notThere(containerDir)),
    });
  });
}

function notThere(containerDir: string): CricketError {
  return new CricketError("not-found", `monitor in ${containerDir} is not there`);
}

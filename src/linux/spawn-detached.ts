// Runs a launch program whose process nothing of cricket stays beside: the OCI command line's containers and execs.
import { describeReport, launchErrorOf, reportOf } from "./describe-step.ts";
import { ControlConnection } from "./control-connection.ts";
import type { DetachedHostOptions } from "./encode-program.ts";
import { close } from "./files.ts";
import { type Frame, decodeNumber, frameType } from "./frames.ts";
import { encodeState } from "./gate.ts";
import type { OnListener } from "./give-listener.ts";
import type { HelperBinary } from "./helper-binary.ts";
import type { LaunchProgram } from "./launch-program.ts";
import { signalPidfd } from "./pidfd.ts";
import { reapSoon, tryReap } from "./reap.ts";
import { handedOver, type HandedDescriptor } from "./sockets.ts";
import { type HelperProcess, spawnHelper } from "./spawn-helper.ts";
import { CricketError } from "../base/errors.ts";

const SIGKILL = 9;

export interface DetachedProcess {
  pid: number;
  /** The caller closes it, and the two below. */
  pidfd: number;
  /** The master of the terminal that an `openPty` step made. */
  pty: number | undefined;
  warnings: readonly string[];
}

export interface DetachedOptions extends DetachedHostOptions {
  /**
   * Called at a `sync` step with the pid of the process and the sockets that `sendSocket` steps handed over, which are
   * the callee's to close; what it gives back is the input of hooks. When it rejects, so does the launch, and its
   * process ends.
   */
  onSync?: (pid: number, sockets: readonly number[]) => Promise<string>;
  onListener?: OnListener;
}

/**
 * Resolves when the process waits at its gate or, without one, when execve has succeeded. Rejects with LaunchError for
 * the step that failed, CricketError otherwise; then no process is left.
 */
export function spawnDetached(
  helper: HelperBinary,
  program: LaunchProgram,
  options: DetachedOptions,
): Promise<DetachedProcess> {
  return new Promise((resolve, reject) => {
    try {
      new DetachedLaunch(
        program,
        spawnHelper(helper, program, { type: "detached", ...options }),
        options,
      ).run(resolve, reject);
    } catch (error) {
      reject(error as Error);
    }
  });
}

class DetachedLaunch {
  readonly #program: LaunchProgram;
  readonly #process: HelperProcess;
  readonly #options: DetachedOptions;
  readonly #warnings: string[] = [];
  readonly #descriptors: HandedDescriptor[] = [];
  /** What has to wait until the pid is known: the child may be faster than its parent, who tells it. */
  readonly #afterFork: ((pid: number) => void)[] = [];
  #pid: number | undefined;
  #ready = false;
  #failure: Error | undefined;

  constructor(program: LaunchProgram, process: HelperProcess, options: DetachedOptions) {
    this.#program = program;
    this.#process = process;
    this.#options = options;
  }

  run(resolve: (process: DetachedProcess) => void, reject: (error: Error) => void): void {
    const connection: ControlConnection = new ControlConnection(this.#process.control, {
      onFrame: (frame) => this.#onFrame(frame, connection),
      onClose: (error) => {
        try {
          if (error !== undefined) this.#failure ??= error;
          resolve(this.#finish());
        } catch (failure) {
          reject(failure as Error);
        } finally {
          this.#process.channel?.close();
        }
      },
    });
  }

  #onFrame(frame: Frame, connection: ControlConnection): void {
    if (frame.type === frameType.forked) {
      this.#pid = decodeNumber(frame.payload);
      for (const action of this.#afterFork.splice(0)) action(this.#pid);
    } else if (frame.type === frameType.executing) this.#ready = true;
    else if (frame.type === frameType.atGate) {
      this.#ready = true;
      this.#whenForked(() => connection.close());
    } else if (frame.type === frameType.sync) this.#whenForked((pid) => void this.#sync(connection, pid));
    else if (frame.type === frameType.listener)
      this.#whenForked((pid) => this.#giveListener(connection, pid));
    else if (frame.type === frameType.warning)
      this.#warnings.push(describeReport(this.#program, reportOf(frame)));
    else if (frame.type === frameType.failed) this.#failure ??= launchErrorOf(this.#program, reportOf(frame));
  }

  #whenForked(action: (pid: number) => void): void {
    if (this.#pid === undefined) this.#afterFork.push(action);
    else action(this.#pid);
  }

  async #sync(connection: ControlConnection, pid: number): Promise<void> {
    try {
      const sockets = this.#take(handedOver.socket);
      const state = await this.#options.onSync?.(pid, sockets);
      this.#process.control.write(encodeState(state ?? ""));
    } catch (error) {
      this.#failure ??= error as Error;
      connection.close();
    }
  }

  #giveListener(connection: ControlConnection, pid: number): void {
    try {
      for (const listener of this.#take(handedOver.listener)) this.#options.onListener?.(listener, pid);
    } catch (error) {
      this.#failure ??= error as Error;
      connection.close();
    }
  }

  /** The descriptors of one kind that have come by now; the others are kept. */
  #take(kind: number): number[] {
    const all = [...this.#descriptors.splice(0), ...(this.#process.channel?.takeAll() ?? [])];
    this.#descriptors.push(...all.filter((item) => item.kind !== kind));
    return all.filter((item) => item.kind === kind).map(({ fd }) => fd);
  }

  #finish(): DetachedProcess {
    reapSoon(this.#process.pid);
    const descriptors = [...this.#descriptors, ...(this.#process.channel?.takeAll() ?? [])];
    const last = (kind: number): number | undefined => descriptors.findLast((item) => item.kind === kind)?.fd;
    const pidfd = last(handedOver.pidfd);
    const process = { pidfd, pty: last(handedOver.pty) };
    const kept = new Set(Object.values(process));
    if (this.#ready && this.#failure === undefined && pidfd !== undefined && this.#pid !== undefined) {
      for (const { fd } of descriptors) if (!kept.has(fd)) close(fd);
      return { ...process, pidfd, pid: this.#pid, warnings: this.#warnings };
    }
    this.#end(pidfd);
    for (const { fd } of descriptors) close(fd);
    throw this.#failure ?? new CricketError("internal", "launch: the launching process was killed");
  }

  #end(pidfd: number | undefined): void {
    // It may have come as far as its gate before the failure.
    if (pidfd !== undefined) signalPidfd(pidfd, SIGKILL);
    // Only where this process is a subreaper; else its parent is another, who reaps it.
    if (this.#pid !== undefined) tryReap(this.#pid);
  }
}

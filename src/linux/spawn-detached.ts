// Runs a launch program whose process nothing of cricket stays beside: the OCI command line's containers and execs.
import { describeReport, launchErrorOf, reportOf } from "./describe-step.ts";
import { ControlConnection } from "./control-connection.ts";
import type { DetachedHostOptions } from "./encode-program.ts";
import { close } from "./files.ts";
import { type Frame, decodeNumber, frameType } from "./frames.ts";
import { encodeState } from "./gate.ts";
import type { HelperBinary } from "./helper-binary.ts";
import type { LaunchProgram } from "./launch-program.ts";
import { reapSoon, tryReap } from "./reap.ts";
import { handedOver } from "./sockets.ts";
import { type HelperProcess, spawnHelper } from "./spawn-helper.ts";
import { CricketError } from "../base/errors.ts";

export interface DetachedProcess {
  pid: number;
  /** The caller closes it, and the two below. */
  pidfd: number;
  /** The master of the terminal that an `openPty` step made. */
  pty: number | undefined;
  /** The notify descriptor of a `seccomp` step. */
  listener: number | undefined;
  warnings: readonly string[];
}

export interface DetachedOptions extends DetachedHostOptions {
  /**
   * Called at a `sync` step with the pid of the process; what it gives back is the input of hooks. When it rejects,
   * so does the launch, and its process ends.
   */
  onSync?: (pid: number) => Promise<string>;
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
  #pid: number | undefined;
  #ready = false;
  #waits = false;
  #atGate = false;
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
      if (this.#waits) void this.#sync(connection);
      if (this.#atGate) connection.close();
    } else if (frame.type === frameType.executing) this.#ready = true;
    else if (frame.type === frameType.atGate) {
      this.#ready = this.#atGate = true;
      if (this.#pid !== undefined) connection.close();
    } else if (frame.type === frameType.sync) {
      // The child may be faster than its parent, who tells the pid.
      this.#waits = true;
      if (this.#pid !== undefined) void this.#sync(connection);
    } else if (frame.type === frameType.warning)
      this.#warnings.push(describeReport(this.#program, reportOf(frame)));
    else if (frame.type === frameType.failed) this.#failure ??= launchErrorOf(this.#program, reportOf(frame));
  }

  async #sync(connection: ControlConnection): Promise<void> {
    try {
      if (this.#pid === undefined) throw new CricketError("internal", "launch: sync before fork");
      const state = await this.#options.onSync?.(this.#pid);
      this.#process.control.write(encodeState(state ?? ""));
    } catch (error) {
      this.#failure ??= error as Error;
      connection.close();
    }
  }

  #finish(): DetachedProcess {
    reapSoon(this.#process.pid);
    const descriptors = this.#process.channel?.takeAll() ?? [];
    const last = (kind: number): number | undefined => descriptors.findLast((item) => item.kind === kind)?.fd;
    const pidfd = last(handedOver.pidfd);
    const process = {
      pidfd,
      pty: last(handedOver.pty),
      listener: last(handedOver.listener),
    };
    const kept = new Set(Object.values(process));
    if (this.#ready && this.#failure === undefined && pidfd !== undefined && this.#pid !== undefined) {
      for (const { fd } of descriptors) if (!kept.has(fd)) close(fd);
      return { ...process, pidfd, pid: this.#pid, warnings: this.#warnings };
    }
    for (const { fd } of descriptors) close(fd);
    // Only where this process is a subreaper; else its parent is another, who reaps it.
    if (this.#pid !== undefined) tryReap(this.#pid);
    throw this.#failure ?? new CricketError("internal", "launch: the launching process was killed");
  }
}

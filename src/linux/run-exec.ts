// Runs a program beside a container's processes and collects its output: ExecSync.
import type { ExecAdoption } from "./encode-program.ts";
import { ControlConnection } from "./control-connection.ts";
import { describeReport, launchErrorOf, reportOf } from "./describe-step.ts";
import { type ExitedFrame, type Frame, decodeExited, frameType } from "./frames.ts";
import { giveListener, type OnListener } from "./give-listener.ts";
import type { HelperBinary } from "./helper-binary.ts";
import type { Descriptor, LaunchProgram } from "./launch-program.ts";
import { reapSoon } from "./reap.ts";
import { spawnHelper } from "./spawn-helper.ts";
import { CricketError } from "../base/errors.ts";

const defaultMaxOutputBytes = 16 << 20;

export interface RunExecOptions {
  /** After it the whole exec'd tree is killed; 0 or undefined: no limit. */
  timeoutMs?: number | undefined;
  /** Of each stream; what comes beyond is read and dropped without an error (CRI ExecSyncResponse). Default 16 MiB. */
  maxOutputBytes?: number | undefined;
  /**
   * cgroup.kill, open for writing, of a cgroup v2 directory that only this exec is in (fork.cgroup). Without it the
   * process, its session and their descendants are killed as /proc shows them.
   */
  killCgroup?: Descriptor | undefined;
  /** The program runs another OCI runtime, whose process the relay takes over. */
  adopts?: ExecAdoption | undefined;
  /** Aborting kills the tree; the promise then rejects with "cancelled". */
  signal?: AbortSignal | undefined;
  onListener?: OnListener | undefined;
}

export interface ExecResult {
  /** 128 + signal when a signal ended it. */
  exitCode: number;
  stdout: Buffer;
  stderr: Buffer;
  /** The time-out passed and everything was killed. */
  timedOut: boolean;
  /** Failures of optional steps. */
  warnings: string[];
}

/**
 * Resolves when the exec'd process has ended, even if a child of it keeps its stdout. Rejects with LaunchError when a
 * step failed (the program is not there: the errno of execve), CricketError "cancelled" after an abort.
 */
export function runExec(
  helper: HelperBinary,
  program: LaunchProgram,
  options: RunExecOptions = {},
): Promise<ExecResult> {
  if (options.signal?.aborted === true) return Promise.reject(cancelled());
  return new Promise((resolve, reject) => {
    const exec = new CollectedExec(program, options.signal);
    try {
      exec.start(helper, options, resolve, reject);
    } catch (error) {
      reject(error as Error);
    }
  });
}

class CollectedExec {
  readonly #program: LaunchProgram;
  readonly #signal: AbortSignal | undefined;
  readonly #stdout: Buffer[] = [];
  readonly #stderr: Buffer[] = [];
  readonly #warnings: string[] = [];
  #exited: ExitedFrame | undefined;
  #failure: Error | undefined;

  constructor(program: LaunchProgram, signal: AbortSignal | undefined) {
    this.#program = program;
    this.#signal = signal;
  }

  start(
    helper: HelperBinary,
    options: RunExecOptions,
    resolve: (result: ExecResult) => void,
    reject: (error: Error) => void,
  ): void {
    const process = spawnHelper(helper, this.#program, {
      type: "exec",
      killCgroup: options.killCgroup,
      adopts: options.adopts,
      stdin: false,
      streaming: false,
      timeoutMs: options.timeoutMs ?? 0,
      maxOutputBytes: options.maxOutputBytes ?? defaultMaxOutputBytes,
    });
    const settle = (error?: Error): void => {
      this.#signal?.removeEventListener("abort", abort);
      connection.close();
      const failure = this.#failureOf(error);
      if (failure !== undefined) reject(failure);
      else resolve(this.#result(this.#exited!));
    };
    const connection = new ControlConnection(process.control, {
      onFrame: (frame) => {
        if (frame.type === frameType.listener) {
          try {
            giveListener(process, frame, options.onListener);
          } catch (error) {
            this.#failure = error as Error;
          }
        }
        if (this.#take(frame)) settle();
      },
      onClose: (error) => {
        reapSoon(process.pid);
        process.channel?.close();
        settle(error);
      },
    });
    const abort = (): void => connection.send(frameType.kill);
    this.#signal?.addEventListener("abort", abort);
  }

  // True for the last frame: the answer need not wait for the helper's own end.
  #take(frame: Frame): boolean {
    if (frame.type === frameType.stdout) this.#stdout.push(frame.payload);
    else if (frame.type === frameType.stderr) this.#stderr.push(frame.payload);
    else if (frame.type === frameType.warning)
      this.#warnings.push(describeReport(this.#program, reportOf(frame)));
    else if (frame.type === frameType.failed) this.#failure = launchErrorOf(this.#program, reportOf(frame));
    else if (frame.type === frameType.exited) this.#exited = decodeExited(frame.payload);
    return this.#exited !== undefined || this.#failure !== undefined;
  }

  #failureOf(error: Error | undefined): Error | undefined {
    if (this.#failure !== undefined) return this.#failure;
    if (this.#signal?.aborted === true) return cancelled();
    if (this.#exited !== undefined) return undefined;
    return error ?? new CricketError("internal", "exec: the relay was killed");
  }

  #result(exited: ExitedFrame): ExecResult {
    return {
      exitCode: exited.exitCode,
      stdout: Buffer.concat(this.#stdout),
      stderr: Buffer.concat(this.#stderr),
      timedOut: exited.timedOut,
      warnings: this.#warnings,
    };
  }
}

function cancelled(): CricketError {
  return new CricketError("cancelled", "exec was cancelled");
}

// Runs a program beside a container's processes with live streams: Exec.
import type { Readable, Writable } from "node:stream";
import type { ExecAdoption } from "./encode-program.ts";
import { ControlConnection } from "./control-connection.ts";
import { launchErrorOf, reportOf } from "./describe-step.ts";
import { FrameStreams } from "./frame-streams.ts";
import { type ExitedFrame, type Frame, decodeExited, encodeNumbers, frameType } from "./frames.ts";
import { giveListener, type OnListener } from "./give-listener.ts";
import type { HelperBinary } from "./helper-binary.ts";
import type { Descriptor, LaunchProgram } from "./launch-program.ts";
import { reapSoon } from "./reap.ts";
import { spawnHelper } from "./spawn-helper.ts";
import { CricketError } from "../base/errors.ts";

export interface StartExecOptions {
  /** Give the program a stdin; otherwise it reads /dev/null. With a terminal (openPty) its input is the pty. */
  stdin: boolean;
  timeoutMs?: number | undefined;
  /** As in RunExecOptions. */
  killCgroup?: Descriptor | undefined;
  onListener?: OnListener | undefined;
  /** As in RunExecOptions. */
  adopts?: ExecAdoption | undefined;
}

export interface ExecSession {
  /** Ending it is the program's end of input (not on a terminal). */
  stdin: Writable;
  stdout: Readable;
  /** Empty on a terminal. */
  stderr: Readable;
  resize(rows: number, columns: number): void;
  /** Kills the whole exec'd tree; `exit` follows, unless the program leaves so much input that the relay never hears it. */
  kill(): void;
  /** Ends the relay, which kills the tree first. Nothing more comes of it, and `exit` rejects if it has not come. */
  abandon(): void;
  /** Rejects with CricketError when the relay was killed. */
  exit: Promise<{ exitCode: number; signal: number; timedOut: boolean }>;
}

/** Resolves when execve has succeeded; rejects with LaunchError for the step that failed. */
export function startExec(
  helper: HelperBinary,
  program: LaunchProgram,
  options: StartExecOptions,
): Promise<ExecSession> {
  return new Promise((resolve, reject) => {
    const process = spawnHelper(helper, program, {
      type: "exec",
      killCgroup: options.killCgroup,
      adopts: options.adopts,
      stdin: options.stdin,
      streaming: true,
      timeoutMs: options.timeoutMs ?? 0,
      maxOutputBytes: 0,
    });
    const end = new ExecEnd();
    const onFrame = (frame: Frame): void => {
      if (streams.take(frame)) return;
      if (frame.type === frameType.started) resolve(sessionOf(connection, streams, end));
      else if (frame.type === frameType.listener) {
        try {
          giveListener(process, frame, options.onListener);
        } catch (error) {
          reject(error as Error);
          connection.close();
        }
      } else if (frame.type === frameType.failed) reject(launchErrorOf(program, reportOf(frame)));
      else if (frame.type === frameType.exited) end.exited = decodeExited(frame.payload);
    };
    const connection = new ControlConnection(process.control, {
      onFrame,
      onClose(error) {
        reapSoon(process.pid);
        process.channel?.close();
        const killed = error ?? new CricketError("internal", "exec: the relay was killed");
        reject(killed);
        streams.end();
        end.settle(killed);
      },
    });
    const streams = new FrameStreams(connection);
  });
}

class ExecEnd {
  exited: ExitedFrame | undefined;
  readonly promise: Promise<ExitedFrame>;
  #resolve: (exited: ExitedFrame) => void = () => {};
  #reject: (error: Error) => void = () => {};

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Whoever never got a session does not wait for its end either.
    this.promise.catch(() => {});
  }

  settle(error: Error): void {
    if (this.exited === undefined) this.#reject(error);
    else this.#resolve(this.exited);
  }
}

function sessionOf(connection: ControlConnection, streams: FrameStreams, end: ExecEnd): ExecSession {
  return {
    stdin: streams.stdin,
    stdout: streams.stdout,
    stderr: streams.stderr,
    resize: (rows, columns) => connection.sendLatest(frameType.resize, encodeNumbers(rows, columns)),
    kill: () => connection.send(frameType.kill),
    abandon: () => connection.close(),
    exit: end.promise.then(({ exitCode, signal, timedOut }) => ({ exitCode, signal, timedOut })),
  };
}

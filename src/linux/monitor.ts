// The daemon's connection to a container's monitor (pause/monitor.c).
import type { ControlConnection } from "./control-connection.ts";
import { launchErrorOf } from "./describe-step.ts";
import { type ExitRecord, readExitFile } from "./exit-file.ts";
import {
  type Frame,
  type HelloFrame,
  decodeExited,
  decodeNumber,
  decodeReport,
  encodeNumbers,
  frameType,
} from "./frames.ts";
import type { LaunchProgram } from "./launch-program.ts";
import { errnoName } from "./libc.ts";
import { CricketError, SyscallError } from "../base/errors.ts";

const lostExitCode = 255;

interface Request {
  resolve: () => void;
  reject: (error: Error) => void;
}

interface MonitorParts {
  containerDir: string;
  connection: ControlConnection;
  hello: HelloFrame;
  /** Known only where the container was created in this process's life: names the step when the start fails. */
  program?: LaunchProgram;
  warnings?: string[];
  descriptors?: number[];
}

export class Monitor {
  /** The container's first process, as the daemon sees it. */
  readonly initPid: number;
  /** Field 22 of its /proc/<pid>/stat: with the pid it names the process for good. */
  readonly initStartTime: bigint;
  readonly tty: boolean;
  readonly stdin: boolean;
  /** Failures of optional steps before the gate. */
  readonly warnings: readonly string[];
  /** What sendSocket and seccomp listener steps handed over, in their order; the caller closes them. */
  readonly descriptors: readonly number[];
  /**
   * Resolves when the container has ended and its log is written. Never rejects; stays pending after `detach`. A
   * monitor that was killed gives `{ exitCode: 255, lost: true }`.
   */
  readonly onExit: Promise<ExitRecord>;

  readonly #containerDir: string;
  readonly #connection: ControlConnection;
  readonly #program: LaunchProgram | undefined;
  readonly #requests = new Map<number, Request[]>();
  #started: boolean;
  #closed = false;
  #detached = false;
  #resolveExit: (exit: ExitRecord) => void = () => {};

  constructor(parts: MonitorParts) {
    this.initPid = parts.hello.pid;
    this.initStartTime = parts.hello.startTime;
    this.tty = parts.hello.tty;
    this.stdin = parts.hello.stdin;
    this.warnings = parts.warnings ?? [];
    this.descriptors = parts.descriptors ?? [];
    this.#started = parts.hello.started;
    this.#containerDir = parts.containerDir;
    this.#program = parts.program;
    this.#connection = parts.connection;
    this.onExit = new Promise((resolve) => {
      this.#resolveExit = resolve;
    });
    this.#connection.setHandler({
      onFrame: (frame) => this.#onFrame(frame),
      onClose: () => this.#onClose(),
    });
  }

  /** Whether the gate was opened. */
  get started(): boolean {
    return this.#started;
  }

  /**
   * Opens the gate; resolves when execve has succeeded. Rejects with LaunchError (the errno of execve) when the
   * program could not be run, CricketError "failed-precondition" when it was started before, "unavailable" when the
   * monitor is gone.
   */
  start(): Promise<void> {
    return this.#request(frameType.start, frameType.started);
  }

  /** Makes the monitor open the log's path anew. Rejects with SyscallError; then it goes on with the old file. */
  reopenLog(): Promise<void> {
    return this.#request(frameType.reopenLog, frameType.reopened);
  }

  /** Rejects with SyscallError, ENOTTY for a container without a terminal. */
  resize(rows: number, columns: number): Promise<void> {
    return this.#request(frameType.resize, frameType.resized, encodeNumbers(rows, columns));
  }

  /** Closes the connection; monitor and container go on. */
  detach(): void {
    this.#detached = true;
    this.#connection.close();
  }

  #request(type: number, answer: number, payload?: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed || this.#detached) {
        reject(this.#gone());
        return;
      }
      const waiting = this.#requests.get(answer) ?? [];
      waiting.push({ resolve, reject });
      this.#requests.set(answer, waiting);
      this.#connection.send(type, payload);
    });
  }

  #onFrame(frame: Frame): void {
    if (frame.type === frameType.exited) {
      const { exitCode, signal, finishedAtNs, oomKills } = decodeExited(frame.payload);
      this.#resolveExit({ exitCode, signal, finishedAtNs, oomKills });
      return;
    }
    const request = this.#requests.get(frame.type)?.shift();
    if (request === undefined) return;
    const error = this.#answerError(frame);
    if (error === undefined) request.resolve();
    else request.reject(error);
  }

  #answerError(frame: Frame): Error | undefined {
    if (frame.type !== frameType.started) {
      const errno = decodeNumber(frame.payload);
      const call = frame.type === frameType.resized ? "resize" : "reopen log";
      return errno === 0 ? undefined : new SyscallError(call, errnoName(errno), this.#containerDir);
    }
    const { first: errno, second: step, text: call } = decodeReport(frame.payload);
    if (errno === 0) {
      this.#started = true;
      return undefined;
    }
    const name = errnoName(errno);
    if (name === "EALREADY") return new CricketError("failed-precondition", "container was started already");
    if (name === "ESRCH") return new CricketError("failed-precondition", "container has ended");
    return launchErrorOf(this.#program, { step, errno, call });
  }

  #onClose(): void {
    this.#closed = true;
    for (const waiting of this.#requests.values()) for (const { reject } of waiting) reject(this.#gone());
    this.#requests.clear();
    if (!this.#detached) this.#resolveExit(readExit(this.#containerDir));
  }

  #gone(): CricketError {
    return new CricketError("unavailable", `monitor in ${this.#containerDir} is gone`);
  }
}

// Resolving twice does nothing, so this matters only where no `exited` frame came.
function readExit(containerDir: string): ExitRecord {
  const lost = {
    exitCode: lostExitCode,
    signal: 0,
    finishedAtNs: BigInt(Date.now()) * 1_000_000n,
    oomKills: 0n,
    lost: true,
  };
  try {
    return readExitFile(containerDir) ?? lost;
  } catch {
    return lost;
  }
}

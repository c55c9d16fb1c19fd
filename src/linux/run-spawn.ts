// Runs a launch program that leaves no parent behind: the pause process of a sandbox.
import { describeReport, launchErrorOf, reportOf } from "./describe-step.ts";
import { close } from "./files.ts";
import { type Frame, decodeNumber, frameType } from "./frames.ts";
import type { HelperBinary } from "./helper-binary.ts";
import type { LaunchProgram } from "./launch-program.ts";
import { openPidfd } from "./pidfd.ts";
import { reapSoon } from "./reap.ts";
import { ControlConnection } from "./control-connection.ts";
import { type HandedDescriptor, handedOver } from "./sockets.ts";
import { type HelperProcess, spawnHelper } from "./spawn-helper.ts";
import { CricketError } from "../base/errors.ts";

export interface SpawnedProcess {
  /** In this process's pid namespace. It is, or will be, a child of this process (see becomeSubreaper): reap it. */
  pid: number;
  /** Close it when done. */
  pidfd: number;
  /** What the program's sendSocket steps made, in their order; the caller closes them. */
  sockets: number[];
  /** Failures of optional steps. */
  warnings: string[];
}

/**
 * Resolves once the program's last step, its exec, has succeeded. Rejects with LaunchError for the step that failed,
 * and CricketError when the program cannot be encoded or its process was killed; then no process is left.
 */
export function runSpawn(helper: HelperBinary, program: LaunchProgram): Promise<SpawnedProcess> {
  return new Promise((resolve, reject) => {
    let launch: SpawnLaunch;
    try {
      launch = new SpawnLaunch(program, spawnHelper(helper, program, { type: "spawn" }));
    } catch (error) {
      reject(error as Error);
      return;
    }
    launch.run(resolve, reject);
  });
}

class SpawnLaunch {
  readonly #program: LaunchProgram;
  readonly #process: HelperProcess;
  readonly #warnings: string[] = [];
  #forkedPid: number | undefined;
  #executing = false;
  #failure: Error | undefined;

  constructor(program: LaunchProgram, process: HelperProcess) {
    this.#program = program;
    this.#process = process;
  }

  run(resolve: (spawned: SpawnedProcess) => void, reject: (error: Error) => void): void {
    new ControlConnection(this.#process.control, {
      onFrame: (frame) => this.#onFrame(frame),
      // The socket is closed by execve, or with the last process of a failed launch.
      onClose: (error) => {
        try {
          if (error !== undefined) throw error;
          resolve(this.#finish());
        } catch (failure) {
          this.#reap();
          reject(failure as Error);
        } finally {
          this.#process.channel?.close();
        }
      },
    });
  }

  #onFrame(frame: Frame): void {
    if (frame.type === frameType.forked) this.#forkedPid = decodeNumber(frame.payload);
    else if (frame.type === frameType.executing) this.#executing = true;
    else if (frame.type === frameType.warning)
      this.#warnings.push(describeReport(this.#program, reportOf(frame)));
    else if (frame.type === frameType.failed) this.#failure ??= launchErrorOf(this.#program, reportOf(frame));
  }

  #finish(): SpawnedProcess {
    if (this.#failure !== undefined) throw this.#failure;
    if (!this.#executing) throw new CricketError("internal", "launch: the launching process was killed");
    const { pidfd, sockets } = splitPidfd(this.#program, this.#process.channel?.takeAll() ?? []);
    const pid = this.#forkedPid ?? this.#process.pid;
    if (this.#forkedPid !== undefined) reapSoon(this.#process.pid);
    // Without a fork it is a child that is not reaped yet, which keeps its pid: pidfd_open finds the right one.
    return { pid, pidfd: pidfd ?? openPidfd(pid), sockets, warnings: this.#warnings };
  }

  #reap(): void {
    reapSoon(this.#process.pid);
    if (this.#forkedPid !== undefined) reapSoon(this.#forkedPid);
  }
}

// The parent hands over the pidfd while the child is on its way already, so it may be anywhere among the sockets.
function splitPidfd(
  program: LaunchProgram,
  descriptors: HandedDescriptor[],
): { pidfd: number | undefined; sockets: number[] } {
  const expected = program.steps.filter((step) => step.op === "sendSocket").length;
  const ofKind = (kind: number): number[] => descriptors.filter((d) => d.kind === kind).map(({ fd }) => fd);
  const pidfds = ofKind(handedOver.pidfd);
  const sockets = ofKind(handedOver.socket);
  const pidfd = pidfds.pop();
  for (const earlier of pidfds) close(earlier);
  if (sockets.length === expected) return { pidfd, sockets };
  for (const fd of pidfd === undefined ? sockets : [...sockets, pidfd]) close(fd);
  throw new CricketError("internal", `launch: ${sockets.length} of ${expected} sockets came back`);
}

// Programs of the host that are run to their end: hooks, ps(1).
import { spawn, type ChildProcess } from "node:child_process";
import { CricketError, errnoOf, wrapError } from "../base/errors.ts";

export interface ProgramRun {
  path: string;
  /** argv[1] and on; `argv0` is the path unless given. */
  args: readonly string[];
  argv0?: string;
  /** The whole environment, "KEY=value". */
  env: readonly string[];
  input?: string;
  /** 0: none. After it the program and what it has started are killed. */
  timeoutMs?: number;
}

const maxOutputBytes = 1 << 20;

/** Its output. Rejects with CricketError when it cannot be run, ends with another status than 0, or too late. */
export function runProgram(run: ProgramRun): Promise<string> {
  const env = Object.fromEntries(
    run.env.map((line) => [line.split("=", 1)[0] ?? "", line.slice(line.indexOf("=") + 1)]),
  );
  return new Promise((resolve, reject) => {
    const options = { argv0: run.argv0 ?? run.path, env, stdio: "pipe" as const };
    // A group of its own where it may have to be ended: what a script has started goes with it.
    const child = spawn(run.path, [...run.args], { ...options, detached: (run.timeoutMs ?? 0) > 0 });
    let [output, complaint] = ["", ""];
    let late = false;
    child.stdout.on("data", (chunk: Buffer) => {
      if (output.length < maxOutputBytes) output += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      if (complaint.length < maxOutputBytes) complaint += chunk.toString();
    });
    const timer =
      (run.timeoutMs ?? 0) === 0
        ? undefined
        : setTimeout(() => {
            late = true;
            killGroup(child);
          }, run.timeoutMs);
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(wrapError(`run ${run.path}`, error));
    });
    // Its output may be held open by a child that it left behind.
    child.on("exit", (code, signal) => {
      clearTimeout(timer);
      setImmediate(() => {
        child.stdout.destroy();
        child.stderr.destroy();
        if (code === 0) resolve(output);
        else reject(failure(run, late, `${signal ?? `exit status ${String(code)}`}`, complaint));
      });
    });
    child.stdin.on("error", () => {});
    child.stdin.end(run.input ?? "");
  });
}

/** It has not been waited for, so the number still is that of its group. */
function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if (errnoOf(error) !== "ESRCH") throw error;
  }
}

function failure(run: ProgramRun, late: boolean, end: string, complaint: string): CricketError {
  if (late) return new CricketError("deadline-exceeded", `${run.path} did not end in ${run.timeoutMs} ms`);
  const said = complaint.trim() === "" ? "" : `: ${complaint.trim().slice(0, 400)}`;
  return new CricketError("internal", `${run.path} failed: ${end}${said}`);
}

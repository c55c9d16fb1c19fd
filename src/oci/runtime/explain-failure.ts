// A program that could not be run, in the words that engines look for when they choose between exit statuses 126 and 127.
import { LaunchError } from "../../base/errors.ts";
import type { Process } from "../spec.ts";

const inWords: Record<string, string> = {
  ENOENT: "no such file or directory",
  ENOTDIR: "not a directory",
  EACCES: "permission denied",
  EPERM: "operation not permitted",
  ENOEXEC: "exec format error",
};

export function explainFailure(error: unknown, process: Process | undefined): unknown {
  if (!(error instanceof LaunchError) || process === undefined) return error;
  const words = inWords[error.errno];
  const what = words === undefined ? undefined : describe(error.step, process, words);
  if (what === undefined) return error;
  return new LaunchError(`unable to start container process: ${what}`, error.step, error.errno);
}

function describe(step: string, { args = [], cwd }: Process, words: string): string | undefined {
  if (step === "chdir") return `chdir to cwd (${JSON.stringify(cwd)}) set in config.json failed: ${words}`;
  if (step !== "exec" && step !== "execve" && step !== "findProgram") return undefined;
  const program = args[0] ?? "";
  const quoted = JSON.stringify(program);
  if (words === inWords["ENOENT"])
    return program.includes("/")
      ? `exec: ${quoted}: stat ${program}: ${words}`
      : `exec: ${quoted}: executable file not found in $PATH`;
  return words === inWords["ENOEXEC"] ? `exec ${program}: ${words}` : `exec: ${quoted}: ${words}`;
}

// One run of a runtime's verb. The relay of an exec is its parent: it bounds time and output, ends the whole tree of
// processes when the time is up, and does so as well when the daemon is killed meanwhile.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { CricketError, LaunchError } from "../../base/errors.ts";
import { newId } from "../../base/ids.ts";
import type { HelperBinary } from "../../linux/helper-binary.ts";
import { runExec } from "../../linux/run-exec.ts";
import { compileInvocation, verbArgs, type RuntimeCommand } from "./runtime-command.ts";
import { lastLoggedError, printable } from "./runtime-log.ts";

const maxOutputBytes = 4 * 1024 * 1024;

/**
 * Runs `verb` (with its arguments) to its end and returns what it printed. `directory` takes its log for that long.
 * @throws CricketError deadline-exceeded when it had to be killed, internal with what the runtime said when it failed
 */
export async function invokeRuntime(
  command: RuntimeCommand,
  verb: readonly string[],
  { helper, directory }: { helper: HelperBinary; directory: string },
): Promise<string> {
  const log = join(directory, `runtime-${newId().slice(0, 16)}.log`);
  try {
    return await runVerb(command, verb, { helper, log });
  } finally {
    rmSync(log, { force: true });
  }
}

async function runVerb(
  command: RuntimeCommand,
  verb: readonly string[],
  { helper, log }: { helper: HelperBinary; log: string },
): Promise<string> {
  const what = `runtime ${command.name}: ${verb[0] ?? ""}`;
  const program = compileInvocation(verbArgs(command, log, verb));
  const result = await runExec(helper, program, { timeoutMs: command.timeoutMs, maxOutputBytes }).catch(
    (error: unknown) => {
      throw failureOf(what, command, log, error);
    },
  );
  if (result.timedOut)
    throw new CricketError("deadline-exceeded", `${what}: no end after ${command.timeoutMs} ms`);
  if (result.exitCode === 0) return result.stdout.toString("utf8");
  const said = lastLoggedError(log) ?? printable(result.stderr.toString("utf8"));
  throw new CricketError("internal", `${what}: ${said === "" ? `exit status ${result.exitCode}` : said}`);
}

/** The error of an invocation under a host, in the runtime's own words where it left some. */
export function failureOf(what: string, command: RuntimeCommand, log: string, error: unknown): unknown {
  if (!(error instanceof CricketError)) return error;
  // It was not even executed: the errno is that of its file.
  if (error instanceof LaunchError && error.step === "exec")
    return new CricketError("failed-precondition", `${what}: execve ${command.path}: ${error.errno}`, {
      cause: error,
    });
  const said = lastLoggedError(log);
  const code = said === undefined || error.code === "deadline-exceeded" ? error.code : "internal";
  return new CricketError(code, `${what}: ${said ?? error.message}`, { cause: error });
}

// Exec and ExecSync for a handler with another OCI runtime: the relay runs its `exec --detach` and takes the process
// over that it leaves, so that output, time-out and exit status are handled as everywhere.
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CricketError } from "../base/errors.ts";
import { newId } from "../base/ids.ts";
import { O_CLOEXEC, O_DIRECTORY, O_PATH } from "../linux/files.ts";
import { failureOf } from "../oci/external/invoke-runtime.ts";
import {
  compileInvocation,
  execArgs,
  invocationFiles,
  type RuntimeCommand,
} from "../oci/external/runtime-command.ts";
import { stringifyExactIntegers } from "../oci/json-shape.ts";
import type { Process } from "../oci/spec.ts";
import { loadBundle } from "./bundle.ts";
import type { ExecOfContainer } from "./container-runtime.ts";
import type { ExecParts, PreparedExec } from "./prepare-exec.ts";

export function prepareExternalExec(
  exec: ExecOfContainer,
  command: RuntimeCommand,
  { paths }: ExecParts,
): PreparedExec {
  const { id } = exec.container;
  const process = processOf(exec, loadBundle(exec.container, paths).spec.process);
  // In the container's directory: what a killed daemon leaves of it goes with the container.
  const directory = join(paths.containerDir(id), `exec-${newId().slice(0, 16)}`);
  const files = invocationFiles(directory);
  const processFile = join(directory, "process.json");
  const terminal = exec.terminal !== undefined;
  mkdirSync(directory, { mode: 0o700 });
  try {
    writeFileSync(processFile, stringifyExactIntegers(process), { mode: 0o600 });
    const fd = openSync(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return {
      program: compileInvocation(execArgs(command, { id, files, process: processFile, terminal })),
      killCgroup: undefined,
      adopts: { directory: fd, console: terminal, timeoutMs: command.timeoutMs },
      failure: (error) => failureOf(`runtime ${command.name}: exec`, command, files.log, error),
      [Symbol.dispose]: () => {
        closeSync(fd);
        rmSync(directory, { recursive: true, force: true });
      },
    };
  } catch (error) {
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
}

function processOf({ command, terminal }: ExecOfContainer, process: Process | undefined): Process {
  if (process === undefined) throw new CricketError("internal", "the container's spec has no process");
  const { consoleSize: _ofTheContainer, ...common } = process;
  return {
    ...common,
    args: [...command],
    terminal: terminal !== undefined,
    ...(terminal === undefined ? {} : { consoleSize: { height: terminal.rows, width: terminal.columns } }),
  };
}

// A dump: the processes of a running container as images of criu, with what its standard streams were.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "../../base/atomic-file.ts";
import { CricketError, failedPrecondition } from "../../base/errors.ts";
import type { HelperBinary } from "../../linux/helper-binary.ts";
import { runExec } from "../../linux/run-exec.ts";
import { compileInvocation } from "../external/runtime-command.ts";
import type { Spec } from "../spec.ts";
import { dumpArgs, type CriuPlaces, type DumpOptions } from "./criu-args.ts";
import { externalsOfDump, standardStreams } from "./criu-externals.ts";
import { criuFailure, descriptorsPath, prepareDirectory } from "./criu-program.ts";

export interface DumpRequest {
  helper: HelperBinary;
  /** Path of the program. */
  criu: string;
  /** The container's first process. */
  pid: number;
  spec: Spec;
  options: DumpOptions;
  places: CriuPlaces;
}

const maxOutputBytes = 64 * 1024;

/**
 * With `leaveRunning`, and whenever it fails, the container goes on; else its processes are gone.
 * @throws CricketError with the last errors of criu's log
 */
export async function dumpProcesses(request: DumpRequest): Promise<void> {
  const { helper, criu, pid, spec, options, places } = request;
  // Its master is in another process, which criu's command line cannot be given.
  if (spec.process?.terminal === true)
    throw failedPrecondition("process.terminal: a container with a terminal cannot be checkpointed");
  prepareDirectory(places.images, "--image-path");
  prepareDirectory(places.work, "--work-path");
  const log = join(places.work, "dump.log");
  rmSync(log, { force: true });
  const { names, externals } = standardStreams(pid);
  writeFileAtomic(descriptorsPath(places.images), JSON.stringify(names));
  const args = dumpArgs(pid, options, places, [...externalsOfDump(pid, spec), ...externals]);
  const result = await runExec(helper, compileInvocation([criu, ...args]), { maxOutputBytes }).catch(
    (error: unknown) => {
      throw new CricketError("internal", `run ${criu}`, { cause: error });
    },
  );
  if (result.exitCode !== 0)
    throw criuFailure(options.preDump ? "pre-dump" : "dump", log, result.stderr.toString("utf8"));
}

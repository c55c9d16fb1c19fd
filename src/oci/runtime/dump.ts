// A dump: the processes of a running container as images of criu, with what its standard streams were.
import { closeSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "../../base/atomic-file.ts";
import { CricketError } from "../../base/errors.ts";
import { close } from "../../linux/files.ts";
import type { HelperBinary } from "../../linux/helper-binary.ts";
import type { Spec } from "../spec.ts";
import { externalsOfDump, standardStreams } from "./criu-externals.ts";
import { awaitCriu, startCriu } from "./criu-process.ts";
import { criuFailure, descriptorsPath, OpenDirectories } from "./criu-program.ts";
import { dumpLog, dumpRequest, type CriuPlaces, type DumpOptions } from "./criu-request.ts";
import { CriuSession, type CriuNotification } from "./criu-session.ts";

export interface DumpRequest {
  helper: HelperBinary;
  /** Path of the program. */
  criu: string;
  /** The container's first process. */
  pid: number;
  spec: Spec;
  options: DumpOptions;
  places: CriuPlaces;
  /** Runs while all is written and the processes still stand: what they have on disk is as of the same moment. */
  whileStopped?: () => Promise<void>;
  /** Aborted: the dump is given up at its next step, and the container goes on. */
  signal?: AbortSignal | undefined;
}

/**
 * With `leaveRunning`, and whenever it fails, the container goes on; else its processes are gone.
 * @throws CricketError with the last errors of criu's log
 */
export async function dumpProcesses(request: DumpRequest): Promise<void> {
  const { helper, criu, pid, spec, options, places } = request;
  using directories = new OpenDirectories(places);
  const log = join(places.work, dumpLog);
  rmSync(log, { force: true });
  const { names, externals } = standardStreams(pid);
  writeFileAtomic(descriptorsPath(places.images), JSON.stringify(names));
  const all = [...externalsOfDump(pid, spec), ...externals];
  using session = new CriuSession();
  const child = await startCriu(helper, criu, session.theirs);
  session.closeTheirs();
  try {
    await session.call({
      type: options.preDump ? "preDump" : "dump",
      options: dumpRequest(pid, options, directories, all),
      onNotify: (notification) => onNotify(notification, request),
    });
  } catch (error) {
    throw criuFailure(options.preDump ? "pre-dump" : "dump", log, error);
  } finally {
    // A dump ahead waits for the next request.
    session[Symbol.dispose]();
    await awaitCriu(child);
  }
}

async function onNotify({ script, descriptor }: CriuNotification, request: DumpRequest): Promise<void> {
  if (descriptor !== undefined) close(descriptor);
  if (request.signal?.aborted === true)
    throw new CricketError("deadline-exceeded", "the checkpoint did not end in time");
  const { statusFd } = request.options;
  if (script === "post-dump") await request.whileStopped?.();
  if (script !== "status-ready" || statusFd === undefined) return;
  writeSync(statusFd, "\0");
  closeSync(statusFd);
}

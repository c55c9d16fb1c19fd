// ExecSync: one helper joins the container, runs the command, and relays what it says. No mounts, no other
// processes: a hundred pods with exec probes must not cost a core (kubernetes#82440).
import { CricketError, failedPrecondition, wrapError } from "../base/errors.ts";
import { runExec, type ExecResult } from "../linux/run-exec.ts";
import type { Container } from "./container-store.ts";
import { assertCanExec, type ExecParts } from "./prepare-exec.ts";

export interface ExecRequest {
  containerId: string;
  command: readonly string[];
  /** 0: none. */
  timeoutMs: number;
  signal: AbortSignal;
}

/** Output beyond this is read and thrown away, without an error (CRI ExecSyncResponse; CVE-2022-1708). */
const maxOutputBytes = 16 * 1024 * 1024;

/**
 * Returns when the command ends, also when a child of it keeps stdout open.
 * @throws CricketError deadline-exceeded when the time is up, and then the command's whole process tree is dead:
 * the kubelet reads exactly this code as a failed probe
 */
export async function execSync(request: ExecRequest, parts: ExecParts): Promise<ExecResult> {
  const container = assertCanExec(request.containerId, request.command, parts.store);
  const abort = new AbortController();
  const signal = AbortSignal.any([abort.signal, request.signal]);
  container.execs.add(abort);
  try {
    const result = await execIn(container, request, signal, parts);
    if (result.timedOut)
      throw new CricketError(
        "deadline-exceeded",
        `exec in container ${container.id}: no end after ${request.timeoutMs} ms`,
      );
    return result;
  } catch (error) {
    // Not the caller has cancelled it.
    if (abort.signal.aborted && !request.signal.aborted)
      throw failedPrecondition(`exec in container ${container.id}: the container was stopped`);
    throw error;
  } finally {
    container.execs.delete(abort);
  }
}

async function execIn(
  container: Container,
  request: ExecRequest,
  signal: AbortSignal,
  parts: ExecParts,
): Promise<ExecResult> {
  try {
    const runtime = parts.runtimes.of(container.record);
    using prepared = runtime.prepareExec({ container, command: request.command }, parts);
    const { killCgroup, adopts, onListener, failure } = prepared;
    const options = { timeoutMs: request.timeoutMs, maxOutputBytes, signal, killCgroup, adopts, onListener };
    return await runExec(parts.helper, prepared.program, options).catch((error: unknown) => {
      throw failure === undefined ? error : failure(error);
    });
  } catch (error) {
    throw wrapError(`exec in container ${container.id}`, error);
  }
}

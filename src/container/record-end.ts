// Turns the end of a container's init into its record: once, whoever learns of it first.
import type { ExitRecord } from "../linux/exit-file.ts";
import type { ContainerEnd } from "./container-record.ts";
import { nowNs } from "./container-record.ts";
import type { Container, ContainerStore } from "./container-store.ts";

/** Writes the end into the record, unless one is there already. */
export function recordEnd(container: Container, end: ContainerEnd, store: ContainerStore): void {
  const { record, monitor } = container;
  if (record.end !== undefined) return;
  container.monitor = undefined;
  // A short life can be over before StartContainer has written down its beginning.
  const isUnrecordedStart = record.startedAtNs === undefined && monitor?.started === true;
  store.update(
    container,
    isUnrecordedStart ? { startedAtNs: end.finishedAtNs, end } : { end: notBefore(end, record.startedAtNs) },
  );
}

/** The clock may have been set back, and a daemon that comes back finds only that the container has started. */
function notBefore(end: ContainerEnd, startedAtNs = 0n): ContainerEnd {
  return end.finishedAtNs >= startedAtNs ? end : { ...end, finishedAtNs: startedAtNs };
}

/**
 * The CRI's words for an exit. "OOMKilled" is a name the API demands; it is used only when init itself died by a
 * SIGKILL that was not ours, and the kernel counted an OOM kill in the container: the counter alone would blame a
 * later, ordinary exit (kubernetes#140718), and so would a SIGKILL at the end of a grace period.
 */
export function endOfExit(exit: ExitRecord, wasKilled: boolean): ContainerEnd {
  const { exitCode, finishedAtNs } = exit;
  return { exitCode, reason: reasonOf(exit, wasKilled), message: "", finishedAtNs };
}

function reasonOf({ exitCode, signal, oomKills }: ExitRecord, wasKilled: boolean): ContainerEnd["reason"] {
  if (signal === SIGKILL && oomKills > 0n && !wasKilled) return "OOMKilled";
  return exitCode === 0 ? "Completed" : "Error";
}

const SIGKILL = 9;

/** As of a container that is killed before it was started. */
export function neverStarted(): ContainerEnd {
  return { exitCode: 137, reason: "Error", message: "", finishedAtNs: nowNs() };
}

/** The monitor is gone and left no exit file: what happened to init cannot be known. */
export function unknownEnd(): ContainerEnd {
  return {
    exitCode: 255,
    reason: "Unknown",
    message: "the exit status was lost with the container's monitor",
    finishedAtNs: nowNs(),
  };
}

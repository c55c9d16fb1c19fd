// StartContainer: opens the gate in front of execve and records whether it worked.
import { CleanupStack } from "../base/cleanup-stack.ts";
import type { KeyedLock } from "../base/keyed-lock.ts";
import { failpoint } from "../base/failpoint.ts";
import { failedPrecondition, hasCode, messageOf, wrapError } from "../base/errors.ts";
import type { Monitor } from "../linux/monitor.ts";
import type { ContainerParticipant } from "./container-participant.ts";
import { nowNs, waitsForRestore } from "./container-record.ts";
import type { Container } from "./container-store.ts";
import { securityLabels, type CreateParts } from "./create-container.ts";
import { prepareStartHooks, runPoststartHooks } from "./oci-hooks.ts";
import { recordEnd } from "./record-end.ts";
import { dropCheckpoint } from "./restore-container.ts";
import { watchContainer } from "./watch-container.ts";

export interface StartParts extends CreateParts {
  locks: KeyedLock;
  participant: ContainerParticipant;
}

/**
 * @throws CricketError failed-precondition unless the container is in state created and its sandbox is ready; the
 * errno of execve otherwise, and then the container is exited with reason StartError and code 128
 */
export async function startContainer(id: string, parts: StartParts): Promise<void> {
  const container = parts.store.get(id);
  assertCanStart(container, parts);
  // Not under the lock: a participant may itself ask for an update of the container.
  await parts.participant.beforeStart(container);
  await parts.locks.run(container.id, () => startLocked(container, parts));
}

async function startLocked(container: Container, parts: StartParts): Promise<void> {
  const monitor = assertCanStart(container, parts);
  if (monitor === undefined) return startRestored(container, parts);
  // Before the gate is opened: a short life is over when its beginning is told, and must not end before it.
  const startedAtNs = nowNs();
  // The gate may be open already: the daemon found the container so and could not find out whether that was recorded.
  if (!monitor.started) {
    prepareStartHooks(container, parts.paths);
    await openGate(container, monitor, parts);
  }
  failpoint("start-container/gate-opened");
  await recordStarted(container, startedAtNs, parts);
}

async function recordStarted(container: Container, startedAtNs: bigint, parts: StartParts): Promise<void> {
  const { record } = container;
  // A container that has ended meanwhile may have its times already.
  if (record.startedAtNs === undefined)
    parts.store.update(container, { startedAtNs: record.end?.finishedAtNs ?? startedAtNs });
  if (container.record.hooks !== undefined) await runStartedHooks(container, parts);
}

async function runStartedHooks(container: Container, parts: StartParts): Promise<void> {
  try {
    await runPoststartHooks(container, parts.paths);
  } catch (error) {
    await parts.runtimes.of(container.record).kill(container);
    throw wrapError(`start container ${container.id}`, error);
  }
}

/** The processes of a checkpoint run when they are there. A failure is one of the start: they are tried once. */
async function startRestored(container: Container, parts: StartParts): Promise<void> {
  const sandbox = parts.sandboxes.get(container.record.sandboxId);
  const stop = new AbortController();
  const runtime = parts.runtimes.of(container.record);
  container.restoring = stop;
  let startedAtNs: bigint;
  try {
    const image = parts.images.resolveForContainer(container.record.image.id);
    const labels = await securityLabels(sandbox, container.record.config, parts);
    const monitor = await runtime.restore({ container, sandbox, image, labels, parts }, stop.signal);
    watchContainer(container, monitor, parts);
    parts.store.update(container, { init: { pid: monitor.initPid, startTimeTicks: monitor.initStartTime } });
    failpoint("start-container/restored");
    startedAtNs = nowNs();
    // Its life can be over before its monitor is told of its beginning.
    await monitor.start().catch((error: unknown) => {
      if (!hasCode(error, "failed-precondition") && !hasCode(error, "unavailable")) throw error;
    });
  } catch (error) {
    return await failStart(container, error, parts);
  } finally {
    container.restoring = undefined;
    dropCheckpoint(parts.paths.containerLayerDir(container.id));
  }
  await recordStarted(container, startedAtNs, parts);
}

/** Undefined: it is to be restored. */
function assertCanStart(container: Container, parts: StartParts): Monitor | undefined {
  const { record, monitor } = container;
  if (container.state !== "created" || (monitor === undefined && !waitsForRestore(record)))
    throw failedPrecondition(
      `container ${record.id} is ${container.state}, only a created container can be started`,
    );
  if (parts.sandboxes.find(record.sandboxId)?.isReady !== true)
    throw failedPrecondition(`sandbox ${record.sandboxId} of container ${record.id} is not ready`);
  return monitor;
}

async function openGate(container: Container, monitor: Monitor, parts: StartParts): Promise<void> {
  const runtime = parts.runtimes.of(container.record);
  try {
    await runtime.start(container, monitor);
  } catch (error) {
    await failStart(container, error, parts);
  }
}

async function failStart(container: Container, error: unknown, parts: StartParts): Promise<never> {
  const failure = wrapError(`start container ${container.id}`, error);
  const end = {
    exitCode: 128,
    reason: "StartError",
    message: messageOf(error),
    finishedAtNs: nowNs(),
  } as const;
  const cleanup = new CleanupStack();
  // Another runtime may have been killed in the middle of it: what waits at its gate must not stay.
  cleanup.defer("kill what was launched", () => parts.runtimes.of(container.record).kill(container));
  cleanup.defer("record the end", () => recordEnd(container, end, parts.store));
  throw await cleanup.fail(failure);
}

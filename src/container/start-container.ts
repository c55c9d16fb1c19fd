// StartContainer: opens the gate in front of execve and records whether it worked.
import { CleanupStack } from "../base/cleanup-stack.ts";
import type { KeyedLock } from "../base/keyed-lock.ts";
import { failpoint } from "../base/failpoint.ts";
import type { ContainerRuntimes } from "./container-runtime.ts";
import { failedPrecondition, messageOf, wrapError } from "../base/errors.ts";
import type { Paths } from "../config/paths.ts";
import type { Monitor } from "../linux/monitor.ts";
import type { SandboxStore } from "../sandbox/sandbox-store.ts";
import type { ContainerParticipant } from "./container-participant.ts";
import { nowNs } from "./container-record.ts";
import type { Container, ContainerStore } from "./container-store.ts";
import { prepareStartHooks, runPoststartHooks } from "./oci-hooks.ts";
import { recordEnd } from "./record-end.ts";

export interface StartParts {
  store: ContainerStore;
  sandboxes: SandboxStore;
  runtimes: ContainerRuntimes;
  locks: KeyedLock;
  participant: ContainerParticipant;
  paths: Paths;
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
  // The gate may be open already: the daemon found the container so and could not find out whether that was recorded.
  if (!monitor.started) {
    prepareStartHooks(container, parts.paths);
    await openGate(container, monitor, parts);
  }
  failpoint("start-container/gate-opened");
  // A container that has ended meanwhile may have its times already.
  const { startedAtNs, end } = container.record;
  if (startedAtNs === undefined) parts.store.update(container, { startedAtNs: end?.finishedAtNs ?? nowNs() });
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

function assertCanStart(container: Container, parts: StartParts): Monitor {
  const { record, monitor } = container;
  if (container.state !== "created" || monitor === undefined)
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
    const failure = wrapError(`start container ${container.id}`, error);
    const end = {
      exitCode: 128,
      reason: "StartError",
      message: messageOf(error),
      finishedAtNs: nowNs(),
    } as const;
    const cleanup = new CleanupStack();
    // Another runtime may have been killed in the middle of it: what waits at its gate must not stay.
    cleanup.defer("kill what was launched", () => runtime.kill(container));
    cleanup.defer("record the end", () => recordEnd(container, end, parts.store));
    throw await cleanup.fail(failure);
  }
}

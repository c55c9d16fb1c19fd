// StartContainer: opens the gate in front of execve and records whether it worked.
import type { KeyedLock } from "../base/keyed-lock.ts";
import { failpoint } from "../base/failpoint.ts";
import { failedPrecondition, messageOf, wrapError } from "../base/errors.ts";
import type { Monitor } from "../linux/monitor.ts";
import type { SandboxStore } from "../sandbox/sandbox-store.ts";
import { nowNs } from "./container-record.ts";
import type { Container, ContainerStore } from "./container-store.ts";
import { recordEnd } from "./record-end.ts";

export interface StartParts {
  store: ContainerStore;
  sandboxes: SandboxStore;
  locks: KeyedLock;
}

/**
 * @throws CricketError failed-precondition unless the container is in state created and its sandbox is ready; the
 * errno of execve otherwise, and then the container is exited with reason StartError and code 128
 */
export async function startContainer(id: string, parts: StartParts): Promise<void> {
  const container = parts.store.get(id);
  await parts.locks.run(container.id, () => startLocked(container, parts));
}

async function startLocked(container: Container, parts: StartParts): Promise<void> {
  const { record, monitor } = container;
  if (container.state !== "created" || monitor === undefined)
    throw failedPrecondition(
      `container ${record.id} is ${container.state}, only a created container can be started`,
    );
  if (parts.sandboxes.find(record.sandboxId)?.isReady !== true)
    throw failedPrecondition(`sandbox ${record.sandboxId} of container ${record.id} is not ready`);
  // A call that opened the gate but could not record it (a full disk) is finished by its retry.
  if (!monitor.started) await openGate(container, monitor, parts);
  failpoint("start-container/gate-opened");
  // A container that has ended meanwhile has its times already.
  if (container.record.startedAtNs === undefined) parts.store.update(container, { startedAtNs: nowNs() });
}

async function openGate(container: Container, monitor: Monitor, parts: StartParts): Promise<void> {
  try {
    await monitor.start();
  } catch (error) {
    const message = messageOf(error);
    recordEnd(
      container,
      { exitCode: 128, reason: "StartError", message, finishedAtNs: nowNs() },
      parts.store,
    );
    throw wrapError(`start container ${container.id}`, error);
  }
}

// StopPodSandbox and RemovePodSandbox. Both are idempotent: the kubelet repeats them until they succeed, and an
// unknown id is a success.
import { failpoint } from "../base/failpoint.ts";
import type { KeyedLock } from "../base/keyed-lock.ts";
import { releaseSandbox, type ReleaseParts } from "./release-sandbox.ts";
import type { SandboxParticipant } from "./sandbox-participant.ts";
import type { Sandbox, SandboxStore } from "./sandbox-store.ts";

/** What the sandbox asks of its containers, without knowing them: the container folder provides it. */
export interface PodContainers {
  /** Kills all containers of the sandbox and waits until they are gone. */
  stopAll(sandboxId: string): Promise<void>;
  removeAll(sandboxId: string): Promise<void>;
}

export interface StopParts extends ReleaseParts {
  store: SandboxStore;
  locks: KeyedLock;
  containers: PodContainers;
  participant: SandboxParticipant;
}

export async function stopSandbox(id: string, parts: StopParts): Promise<void> {
  const sandbox = parts.store.find(id);
  if (sandbox === undefined) return;
  await parts.locks.run(sandbox.id, () => stopLocked(sandbox, parts));
}

async function stopLocked(sandbox: Sandbox, parts: StopParts): Promise<void> {
  if (sandbox.record.stoppedAtNs !== undefined) return;
  sandbox.isStopping = true;
  await parts.containers.stopAll(sandbox.id);
  failpoint("stop-sandbox/containers-stopped");
  await parts.participant.beforeRelease(sandbox);
  await releaseSandbox(sandbox, parts);
  failpoint("stop-sandbox/released");
  parts.store.update(sandbox, { stoppedAtNs: BigInt(Date.now()) * 1_000_000n });
}

export async function removeSandbox(id: string, parts: StopParts): Promise<void> {
  const sandbox = parts.store.find(id);
  if (sandbox === undefined) return;
  await parts.locks.run(sandbox.id, async () => {
    if (parts.store.find(sandbox.id) === undefined) return;
    await stopLocked(sandbox, parts);
    await parts.containers.removeAll(sandbox.id);
    failpoint("remove-sandbox/containers-removed");
    parts.store.delete(sandbox);
  });
}

// At start, before the socket opens: takes up the sandboxes of the record directory as the kernel shows them.
import type { Log } from "../base/log.ts";
import { messageOf } from "../base/errors.ts";
import type { DetachRequest } from "../network/pod-network.ts";
import { detachRequest, releaseSandbox, type ReleaseParts } from "./release-sandbox.ts";
import { unpinNetns } from "./netns-pin.ts";
import { PauseProcess } from "./pause-process.ts";
import { unmountShm } from "./sandbox-files.ts";
import type { Sandbox, SandboxStore } from "./sandbox-store.ts";

export interface RecoverParts extends ReleaseParts {
  store: SandboxStore;
  log: Log;
  bootId: string;
  /** Of pods that name none themselves. */
  cgroupParent: string;
}

/**
 * Loads all sandboxes. What was half made when the daemon died is unwound by the same function that StopPodSandbox
 * uses; what cannot be released yet stays in the table as not ready, so that Stop and Remove can finish it.
 */
export async function recoverSandboxes(parts: RecoverParts): Promise<void> {
  const { records, orphans } = parts.store.records.load();
  for (const id of orphans) await removeOrphan(id, parts);
  for (const record of records) {
    const sandbox = parts.store.adopt(record);
    if (record.bootId === parts.bootId && record.pause !== undefined)
      sandbox.pause = PauseProcess.reopen(record.pause, () => {
        parts.log.info("pause ended", { id: record.id });
        parts.store.pauseEnded(sandbox);
      });
    if (!record.committed) await unwind(sandbox, parts);
  }
}

/** Of a sandbox whose record cannot be read the id is left, and by that what it has is found. */
async function removeOrphan(
  id: string,
  { store, paths, cgroups, cgroupParent, log }: RecoverParts,
): Promise<void> {
  try {
    const cgroupPath = cgroups.podPath(cgroupParent, id);
    await cgroups.kill(cgroupPath);
    await cgroups.remove(cgroupPath);
    unpinNetns(paths.netnsPath(id));
    unmountShm(paths.sandboxShm(id));
    store.records.delete(id);
    log.warn("removed sandbox without a readable record", { id });
  } catch (error) {
    log.error("sandbox without a readable record cannot be removed", { id, error: messageOf(error) });
  }
}

async function unwind(sandbox: Sandbox, parts: RecoverParts): Promise<void> {
  try {
    await releaseSandbox(sandbox, parts);
    parts.store.delete(sandbox);
    parts.log.info("removed half-made sandbox", { id: sandbox.id });
  } catch (error) {
    parts.log.warn("half-made sandbox could not be released", { id: sandbox.id, error: messageOf(error) });
    commitAnyway(sandbox, parts);
  }
}

/**
 * Listed as not ready from now on: the kubelet's StopPodSandbox and RemovePodSandbox try again. On a full disk that is not
 * written down, and the next start tries again: the daemon has to be there for what fills the disk to be removed.
 */
function commitAnyway(sandbox: Sandbox, { store, log }: RecoverParts): void {
  try {
    store.update(sandbox, { committed: true });
  } catch (error) {
    sandbox.record = { ...sandbox.record, committed: true };
    log.error("sandbox not recovered in full", { id: sandbox.id, error: messageOf(error) });
  }
}

/** The attachments that must survive the network's own recovery. */
export function liveAttachments(store: SandboxStore, parts: ReleaseParts): DetachRequest[] {
  return store
    .list()
    .filter((sandbox) => !sandbox.usesHostNetwork && sandbox.record.stoppedAtNs === undefined)
    .map((sandbox) => detachRequest(sandbox.record, parts.paths));
}

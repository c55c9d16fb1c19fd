// Gives back what a sandbox holds. The same function serves StopPodSandbox, the unwinding of a failed
// RunPodSandbox and the recovery after a crash: every resource is found by the sandbox id, every step is
// idempotent, and all steps run even if one fails.
import { CricketError, messageOf } from "../base/errors.ts";
import type { DetachRequest, PodNetwork } from "../network/pod-network.ts";
import type { CgroupManager } from "../linux/cgroup/cgroup-manager.ts";
import type { Paths } from "../config/paths.ts";
import { unpinNetns } from "./netns-pin.ts";
import { sandboxFiles, unmountShm } from "./sandbox-files.ts";
import type { Sandbox } from "./sandbox-store.ts";
import { pauseCgroup, type SandboxRecord } from "./sandbox-record.ts";

export interface ReleaseParts {
  paths: Paths;
  network: PodNetwork;
  cgroups: CgroupManager;
}

export async function releaseSandbox(sandbox: Sandbox, parts: ReleaseParts): Promise<void> {
  const failures: Error[] = [];
  const attempt = async (what: string, step: () => void | Promise<void>): Promise<void> => {
    try {
      await step();
    } catch (error) {
      failures.push(new CricketError("internal", `${what}: ${messageOf(error)}`, { cause: error }));
    }
  };
  const { record } = sandbox;
  // The network goes before the pin: a plugin may need the namespace, and detach works without it too.
  if (!sandbox.usesHostNetwork)
    await attempt("detach network", () => parts.network.detach(detachRequest(record, parts.paths)));
  await attempt("kill pause", async () => {
    await sandbox.pause?.kill();
    sandbox.pause?.close();
    sandbox.pause = undefined;
  });
  await attempt("unpin netns", () => unpinNetns(parts.paths.netnsPath(record.id)));
  const { shm } = sandboxFiles(parts.paths.sandboxDir(record.id), record.config);
  if (record.config.security.namespaces.ipc === "pod") await attempt("unmount shm", () => unmountShm(shm));
  await attempt("remove cgroup", () => removeCgroups(record, parts.cgroups));
  if (failures.length > 0) throw collect(record.id, failures);
}

async function removeCgroups(record: SandboxRecord, cgroups: CgroupManager): Promise<void> {
  const own = pauseCgroup(record);
  // Recovery may not know the pid (killed between spawn and record): the cgroup knows the processes.
  await cgroups.kill(own);
  await cgroups.remove(own);
  if (record.ownsCgroup) await cgroups.remove(record.cgroupPath);
}

export function detachRequest(record: SandboxRecord, paths: Paths): DetachRequest {
  const { name, namespace, uid } = record.config.metadata;
  return {
    sandboxId: record.id,
    pod: { name, namespace, uid },
    netnsPath: paths.netnsPath(record.id),
    portMappings: record.config.portMappings,
  };
}

function collect(id: string, failures: Error[]): CricketError {
  const list = failures.map((failure) => failure.message).join("; ");
  return new CricketError("internal", `release sandbox ${id}: ${list}`, { cause: failures[0] });
}

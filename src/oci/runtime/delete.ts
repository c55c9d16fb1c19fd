// delete: what is left of a container that has ended; with force also of one that has not.
import { failedPrecondition } from "../../base/errors.ts";
import { close } from "../../linux/files.ts";
import { signalPidfd, watchPidfd } from "../../linux/pidfd.ts";
import { ownCgroupParent } from "./cgroup-limits.ts";
import type { ContainerState } from "./container-store.ts";
import { tryPoststopHooks } from "./hooks.ts";
import { removeIntelRdt } from "./intel-rdt.ts";
import type { Spec } from "../spec.ts";
import { cgroupsOf, type Runtime } from "./runtime.ts";

const SIGKILL = 9;
const killWaitMs = 10_000;

/** Resolves with the warnings of poststop hooks. With `force` an unknown container is no error. */
export async function deleteContainer(runtime: Runtime, id: string, force: boolean): Promise<string[]> {
  const { store } = runtime;
  const state = store.find(id);
  if (state === undefined) {
    // A directory without a state: its creation was killed at its very first line.
    if (force) store.remove(id);
    if (force) return [];
    store.get(id);
    return [];
  }
  const status = store.status(state);
  if (!force && status !== "stopped" && status !== "created" && status !== "creating")
    throw failedPrecondition(`cannot delete container ${id} that is not stopped: ${status}`);
  await endProcess(runtime, state);
  const described = { ...store.describe(state), status: "stopped" as const, pid: 0 };
  const cgroups = await cgroupsOf(runtime, state);
  await cgroups.kill(state.cgroupPath);
  await cgroups.remove(state.cgroupPath);
  await pruneParent(runtime, state.cgroupPath);
  const spec = specOf(runtime, id);
  removeIntelRdt(id, spec?.linux?.intelRdt);
  store.remove(id);
  return tryPoststopHooks(spec?.hooks?.poststop, described);
}

/** The runtime's own parent goes with its last container; one that the spec names is somebody else's. */
async function pruneParent({ store }: Runtime, path: string): Promise<void> {
  if (path.startsWith(`${ownCgroupParent}/`)) await store.cgroups.prune(ownCgroupParent);
}

// A spec that cannot be read must not keep the container.
function specOf({ store }: Runtime, id: string): Spec | undefined {
  try {
    return store.loadSpec(id);
  } catch {
    return undefined;
  }
}

/** Kills the first process, also a paused one, and waits for its end. */
async function endProcess({ store }: Runtime, state: ContainerState): Promise<void> {
  const pidfd = store.openProcess(state);
  if (pidfd === undefined) return;
  try {
    if (store.cgroups.isFrozen(state.cgroupPath)) {
      signalPidfd(pidfd, SIGKILL);
      store.cgroups.thaw(state.cgroupPath);
    }
    if (!signalPidfd(pidfd, SIGKILL)) return;
    await untilEnded(pidfd);
  } finally {
    close(pidfd);
  }
}

/** A zombie counts as ended: its parent is somebody else. Gives up after ten seconds. */
function untilEnded(pidfd: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      watch.stop();
      resolve();
    }, killWaitMs);
    const watch = watchPidfd(pidfd, () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

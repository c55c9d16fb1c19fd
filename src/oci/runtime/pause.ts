// pause and resume: the freezer of the container's cgroup.
import { failedPrecondition } from "../../base/errors.ts";
import type { Runtime } from "./runtime.ts";

export async function pauseContainer({ store }: Runtime, id: string): Promise<void> {
  const state = store.get(id);
  const status = store.status(state);
  if (status !== "running" && status !== "created")
    throw failedPrecondition(status === "paused" ? "container already paused" : "container not running");
  if (await store.cgroups.freeze(state.cgroupPath)) return;
  store.cgroups.thaw(state.cgroupPath);
  throw failedPrecondition(`container ${id} could not be paused: some process does not stop`);
}

export function resumeContainer({ store }: Runtime, id: string): void {
  const state = store.get(id);
  if (store.status(state) !== "paused") throw failedPrecondition("container not paused");
  store.cgroups.thaw(state.cgroupPath);
}

// update: new limits of a container that exists.
import { failedPrecondition } from "../../base/errors.ts";
import type { IntelRdt, Resources } from "../linux-spec.ts";
import { cgroupResourcesOf } from "./cgroup-limits.ts";
import { updateIntelRdt } from "./intel-rdt.ts";
import { cgroupsOf, type Runtime } from "./runtime.ts";

/** What `resources` does not name stays as it is. */
export async function updateContainer(runtime: Runtime, id: string, resources: Resources): Promise<void> {
  const { store } = runtime;
  const state = store.get(id);
  if (store.status(state) === "stopped") throw failedPrecondition("container not running");
  const cgroups = await cgroupsOf(runtime, state);
  await cgroups.updateResources(state.cgroupPath, cgroupResourcesOf(resources));
  const spec = store.loadSpec(id);
  const before = spec.linux?.resources ?? {};
  const { devices: _ofCreation, ...changes } = resources;
  const after: Resources = {
    ...before,
    ...changes,
    memory: { ...before.memory, ...resources.memory },
    cpu: { ...before.cpu, ...resources.cpu },
    blockIO: { ...before.blockIO, ...resources.blockIO },
    unified: { ...before.unified, ...resources.unified },
  };
  store.saveSpec(id, { ...spec, linux: { ...spec.linux, resources: after } });
}

/** Empty schemata stay as they are. @throws CricketError failed-precondition for a container that has no class */
export function updateSchemata({ store }: Runtime, id: string, changes: IntelRdt): void {
  const spec = store.loadSpec(store.get(id).id);
  const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== ""));
  if (Object.keys(given).length === 0) return;
  const rdt = spec.linux?.intelRdt;
  if (rdt === undefined) throw failedPrecondition("container has no linux.intelRdt");
  updateIntelRdt(id, rdt, given);
  store.saveSpec(id, { ...spec, linux: { ...spec.linux, intelRdt: { ...rdt, ...given } } });
}

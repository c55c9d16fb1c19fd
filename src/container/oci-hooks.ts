// OCI hooks of a container: only adjustments bring them, the CRI has no field for them. Those of the container's own
// namespaces are steps of its launch program; the others run here.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Paths } from "../config/paths.ts";
import { stateFile } from "../linux/start-monitor.ts";
import { runHooks, tryPoststopHooks, type HookState } from "../oci/runtime/hooks.ts";
import { SPEC_VERSION, type Hooks, type Spec } from "../oci/spec.ts";
import type { Container } from "./container-store.ts";

/** Kept in the record: after a restart nobody has to read the spec to know of them. */
export type LateHooks = Pick<Hooks, "startContainer" | "poststart" | "poststop">;

/** Undefined where there are none. */
export function lateHooks({ hooks = {} }: Spec): LateHooks | undefined {
  const { startContainer = [], poststart = [], poststop = [] } = hooks;
  return startContainer.length + poststart.length + poststop.length === 0
    ? undefined
    : { startContainer, poststart, poststop };
}

/** prestart and createRuntime hooks; then what the program's own hooks need. A failing one ends the launch. */
export async function runCreateHooks(container: Container, pid: number, paths: Paths): Promise<void> {
  const { hooks = {} } = container.bundle?.spec ?? {};
  const state = stateOf(container, "creating", pid, paths);
  await runHooks("prestart", hooks.prestart, state);
  await runHooks("createRuntime", hooks.createRuntime, state);
  writeState(state);
}

/** Before the gate is opened: startContainer hooks are steps behind it. */
export function prepareStartHooks(container: Container, paths: Paths): void {
  const { hooks, init } = container.record;
  if ((hooks?.startContainer ?? []).length > 0)
    writeState(stateOf(container, "created", init?.pid ?? 0, paths));
}

/** A failing one ends the container (runtime.md#lifecycle): the caller sees to it. */
export function runPoststartHooks(container: Container, paths: Paths): Promise<void> {
  const { hooks, init } = container.record;
  return runHooks("poststart", hooks?.poststart, stateOf(container, "running", init?.pid ?? 0, paths));
}

/** Returns what failed. */
export function runPoststopHooks(container: Container, paths: Paths): Promise<string[]> {
  return tryPoststopHooks(container.record.hooks?.poststop, stateOf(container, "stopped", 0, paths));
}

function stateOf(
  { record, bundle }: Container,
  status: HookState["status"],
  pid: number,
  paths: Paths,
): HookState {
  const annotations = bundle?.spec.annotations;
  return {
    ociVersion: bundle?.spec.ociVersion ?? SPEC_VERSION,
    id: record.id,
    status,
    pid,
    bundle: paths.containerDir(record.id),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

function writeState(state: HookState): void {
  writeFileSync(join(state.bundle, stateFile), JSON.stringify(state), { mode: 0o600 });
}

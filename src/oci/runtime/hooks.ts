// Hooks that run in the runtime's own namespaces.
import { CricketError, messageOf } from "../../base/errors.ts";
import { runProgram } from "../../linux/run-program.ts";
import type { Hook, Hooks } from "../spec.ts";
import type { PublicState } from "./container-store.ts";

/** What hooks get as their input (runtime.md#state). */
export type HookState = Pick<PublicState, "ociVersion" | "id" | "pid" | "status" | "bundle" | "annotations">;

/** A hook that failed, was not there or took too long. */
export class HookError extends CricketError {}

/** A failing hook ends the operation, and those behind it are not run (runtime.md#lifecycle). */
export async function runHooks(
  kind: keyof Hooks,
  hooks: readonly Hook[] | undefined,
  state: HookState,
): Promise<void> {
  for (const [index, hook] of (hooks ?? []).entries()) await runHook(`${kind} hook #${index}`, hook, state);
}

/** poststop: a failure is a warning, and the others still run (runtime.md#lifecycle). */
export async function tryPoststopHooks(
  hooks: readonly Hook[] | undefined,
  state: HookState,
): Promise<string[]> {
  const warnings: string[] = [];
  for (const [index, hook] of (hooks ?? []).entries())
    await runHook(`poststop hook #${index}`, hook, state).catch((error: unknown) =>
      warnings.push(messageOf(error)),
    );
  return warnings;
}

async function runHook(name: string, hook: Hook, state: HookState): Promise<void> {
  try {
    await runProgram({
      path: hook.path,
      argv0: hook.args?.[0] ?? hook.path,
      args: hook.args?.slice(1) ?? [],
      env: hook.env ?? ownEnvironment(),
      input: JSON.stringify(state),
      timeoutMs: (hook.timeout ?? 0) * 1000,
    });
  } catch (error) {
    throw new HookError("internal", `${name}: ${messageOf(error)}`, { cause: error });
  }
}

/** A hook without an environment of its own has the runtime's, as with runc and crun. */
function ownEnvironment(): string[] {
  return Object.entries(process.env).map(([key, value = ""]) => `${key}=${value}`);
}

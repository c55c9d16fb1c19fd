// Hooks that run in the container's namespaces, and the halt at which the runtime runs those that belong to its own.
import type { Step } from "../linux/launch-program.ts";
import type { Hook, Hooks } from "./spec.ts";

const source = "OCI runtime-spec config.md#posix-platform-hooks";
const lifecycle = "OCI runtime-spec runtime.md#lifecycle";

/**
 * Before the root is changed: the runtime's hooks first, then createContainer's, whose paths are the host's.
 * `waitsAnyway`: the runtime has more to do at that point.
 */
export function compileCreateHooks(hooks: Hooks | undefined, waitsAnyway: boolean): Step[] {
  const { prestart = [], createRuntime = [], createContainer = [] } = hooks ?? {};
  const count = prestart.length + createRuntime.length + createContainer.length;
  if (count === 0 && !waitsAnyway) return [];
  const why =
    count === 0
      ? "the runtime works on the container's namespaces from outside"
      : "prestart and createRuntime hooks run in the namespaces of the runtime";
  return [
    { op: "sync", because: { why, source: count === 0 ? lifecycle : source } },
    ...createContainer.map((hook) => compileHook(hook, "createContainer")),
  ];
}

/** After the gate: paths are the container's. */
export function compileStartHooks(hooks: readonly Hook[]): Step[] {
  return hooks.map((hook) => compileHook(hook, "startContainer"));
}

function compileHook({ path, args, env, timeout }: Hook, kind: string): Step {
  return {
    op: "runHook",
    path,
    argv: args === undefined || args.length === 0 ? [path] : [...args],
    env: [...(env ?? [])],
    timeoutSeconds: timeout ?? 0,
    because: { why: `${kind} hook, in the namespaces of the container`, source },
  };
}

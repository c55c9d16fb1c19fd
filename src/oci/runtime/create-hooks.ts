// The hooks of a create: those before the root is changed, and what is run in their place when the create fails.
import { CricketError } from "../../base/errors.ts";
import type { Spec } from "../spec.ts";
import type { PublicState } from "./container-store.ts";
import { runHooks, tryPoststopHooks } from "./hooks.ts";

export class CreateHooks {
  readonly #hooks: NonNullable<Spec["hooks"]>;
  #state: PublicState | undefined;

  constructor({ hooks = {} }: Spec) {
    this.#hooks = hooks;
  }

  /** Resolves with the input of hooks that follow in the container. */
  async run(state: PublicState): Promise<string> {
    this.#state = state;
    await runHooks("prestart", this.#hooks.prestart, state);
    await runHooks("createRuntime", this.#hooks.createRuntime, state);
    return JSON.stringify(state);
  }

  /** "If any ... hook fails, the runtime MUST ... continue the lifecycle at step 12": poststop (runtime.md#lifecycle). */
  async undo(): Promise<void> {
    if (this.#state === undefined) return;
    const state = { ...this.#state, status: "stopped" as const, pid: 0 };
    const warnings = await tryPoststopHooks(this.#hooks.poststop, state);
    if (warnings.length > 0) throw new CricketError("internal", warnings.join("; "));
  }
}

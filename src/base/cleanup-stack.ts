// Undo steps that are registered the moment a thing exists and run in reverse if the rest fails.
import { CricketError, messageOf } from "./errors.ts";

type Undo = { what: string; undo: () => void | Promise<void> };

/**
 * ```
 * const cleanup = new CleanupStack();
 * try { const x = make(); cleanup.defer("unmake x", () => unmake(x)); ...; cleanup.keep(); }
 * catch (error) { throw await cleanup.fail(error); }
 * ```
 * `unwind` runs *every* undo even if one fails, each bounded by its own time-out, and is never tied to the
 * caller's cancellation: a client that goes away must not leave half a sandbox.
 */
export class CleanupStack {
  #undos: Undo[] = [];
  readonly #timeoutMs: number;

  constructor(timeoutMs = 60_000) {
    this.#timeoutMs = timeoutMs;
  }

  defer(what: string, undo: () => void | Promise<void>): void {
    this.#undos.push({ what, undo });
  }

  /** Forgets all undos: what was made stays. */
  keep(): void {
    this.#undos = [];
  }

  /** Runs all undos, last first; returns what failed. */
  async unwind(): Promise<Error[]> {
    const failures: Error[] = [];
    for (let next = this.#undos.pop(); next !== undefined; next = this.#undos.pop()) {
      try {
        await withTimeout(next, this.#timeoutMs);
      } catch (error) {
        failures.push(new CricketError("internal", `${next.what}: ${messageOf(error)}`, { cause: error }));
      }
    }
    return failures;
  }

  /** Unwinds and returns the error to throw: the original one, with the failed undos in its message if any. */
  async fail(error: unknown): Promise<unknown> {
    const failures = await this.unwind();
    if (failures.length === 0) return error;
    const code = error instanceof CricketError ? error.code : "internal";
    const list = failures.map((failure) => failure.message).join("; ");
    return new CricketError(code, `${messageOf(error)}; cleanup: ${list}`, { cause: error });
  }
}

async function withTimeout(step: Undo, timeoutMs: number): Promise<void> {
  const result = step.undo();
  if (!(result instanceof Promise)) return;
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new CricketError("deadline-exceeded", `no end after ${timeoutMs} ms`)),
      timeoutMs,
    );
  });
  try {
    await Promise.race([result, expired]);
  } finally {
    clearTimeout(timer);
  }
}

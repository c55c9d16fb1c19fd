// The demo's output: one line a step with what came of it and how long it took; and its end, whenever it comes.

/** Thrown through the demo when someone wants it to end. */
export class Interrupted extends Error {
  constructor(signal: string) {
    super(`interrupted by ${signal}`);
    this.name = "Interrupted";
  }
}

export class Steps {
  /** Aborted with an Interrupted by SIGINT, SIGTERM or SIGHUP. */
  readonly signal: AbortSignal;
  #current = "";
  #number = 0;

  constructor() {
    const controller = new AbortController();
    this.signal = controller.signal;
    // They stay until the process ends: a second Ctrl-C must not stop the clean-up.
    for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
      process.on(name, () => controller.abort(new Interrupted(name)));
  }

  /** What was being done when an error came. */
  get current(): string {
    return this.#current;
  }

  /**
   * Runs one step; `tell` says what came of it. An interrupted demo ends after the step: each is short, and what a
   * call is making just then could not be found to be removed.
   */
  async run<T>(what: string, step: () => Promise<T>, tell?: (result: T) => string): Promise<T> {
    this.signal.throwIfAborted();
    this.#current = what;
    const startMs = performance.now();
    const result = await step();
    this.#print(what, performance.now() - startMs, tell?.(result) ?? "");
    this.signal.throwIfAborted();
    return result;
  }

  #print(what: string, timeMs: number, result: string): void {
    const [first = "", ...rest] = result.split("\n");
    const number = String(++this.#number).padStart(2);
    process.stdout.write(
      `${number}  ${what.padEnd(34)}${formatTime(timeMs).padStart(9)}  ${first}`.trimEnd() + "\n",
    );
    for (const line of rest) process.stdout.write(`${" ".repeat(49)}${line}\n`);
  }
}

export const formatTime = (timeMs: number): string =>
  timeMs < 1000 ? `${timeMs.toFixed(timeMs < 10 ? 1 : 0)} ms` : `${(timeMs / 1000).toFixed(2)} s`;

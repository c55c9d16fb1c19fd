// Times of calls and their quantiles.

/** Milliseconds by the name of the call, in the order the names were first seen. */
export class Samples {
  readonly #times = new Map<string, number[]>();
  readonly #signal: AbortSignal | undefined;

  /** No call begins after `signal`. */
  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  /** Runs `call` and keeps its time under `name`; without a name (a warm-up round) it is not kept. */
  async time<T>(name: string | undefined, call: () => Promise<T>): Promise<T> {
    this.#signal?.throwIfAborted();
    const startMs = performance.now();
    const result = await call();
    if (name !== undefined) this.add(name, performance.now() - startMs);
    return result;
  }

  add(name: string, timeMs: number): void {
    const times = this.#times.get(name);
    if (times === undefined) this.#times.set(name, [timeMs]);
    else times.push(timeMs);
  }

  summaries(): Map<string, Summary> {
    return new Map([...this.#times].map(([name, times]) => [name, summarize(times)]));
  }
}

/** All in milliseconds. */
export interface Summary {
  count: number;
  min: number;
  median: number;
  p90: number;
  p99: number;
  max: number;
}

/** `times` holds at least one value. */
export function summarize(times: readonly number[]): Summary {
  const sorted = times.toSorted((a, b) => a - b);
  // The smallest value that at least this share of all values does not exceed.
  const at = (share: number): number =>
    sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
  return { count: sorted.length, min: at(0), median: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) };
}

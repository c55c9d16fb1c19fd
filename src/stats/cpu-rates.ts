// CPU use per second, from the counter of CPU time and earlier readings of it.

interface Reading {
  usageNs: bigint;
  atNs: bigint;
}

interface History {
  latest: Reading;
  /** The one before, for callers who ask right after another. */
  before: Reading | undefined;
}

/** Readings closer together than this would measure the scheduler's ticks rather than the load. */
const shortestWindowNs = 100_000_000n;
/** A reading is replaced when it is this old, so that callers who ask in turn do not shorten each other's window. */
const readingLifeNs = 1_000_000_000n;
/** What nobody asked for in this time is forgotten. */
const forgetAfterNs = 600_000_000_000n;

/** Readings by cgroup path. */
export class CpuRates {
  readonly #histories = new Map<string, History>();
  readonly #nowNs: () => bigint;
  #sweptAtNs: bigint;

  /** `nowNs`: a monotonic clock, because the wall clock can jump. */
  constructor(nowNs: () => bigint = () => process.hrtime.bigint()) {
    this.#nowNs = nowNs;
    this.#sweptAtNs = nowNs();
  }

  /**
   * Takes a reading of the counter and returns nanoseconds of CPU time per second since an earlier one; undefined
   * at the first reading and for the tenth of a second after it.
   */
  record(path: string, usageNs: bigint): bigint | undefined {
    const now: Reading = { usageNs, atNs: this.#nowNs() };
    this.#sweep(now.atNs);
    const history = this.#histories.get(path);
    // A counter that went back is another cgroup under the same path.
    if (history === undefined || usageNs < history.latest.usageNs) {
      this.#histories.set(path, { latest: now, before: undefined });
      return undefined;
    }
    const { latest, before } = history;
    if (now.atNs - latest.atNs >= readingLifeNs) this.#histories.set(path, { latest: now, before: latest });
    const base = [latest, before].find((one) => one !== undefined && now.atNs - one.atNs >= shortestWindowNs);
    if (base === undefined) return undefined;
    return ((usageNs - base.usageNs) * 1_000_000_000n) / (now.atNs - base.atNs);
  }

  get size(): number {
    return this.#histories.size;
  }

  #sweep(nowNs: bigint): void {
    if (nowNs - this.#sweptAtNs < forgetAfterNs) return;
    this.#sweptAtNs = nowNs;
    for (const [path, { latest }] of this.#histories)
      if (nowNs - latest.atNs >= forgetAfterNs) this.#histories.delete(path);
  }
}

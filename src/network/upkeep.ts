// Work that is due from time to time and not worth a timer: whoever comes by starts it, at most once at a time.

/** A look costs a few netlink exchanges; the kubelet comes by every five seconds. */
const restMs = 4_000;

export class Upkeep {
  readonly #work: () => Promise<void>;
  #running: Promise<void> | undefined;
  #endedAtMs = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  /** `work` never throws. */
  constructor(work: () => Promise<void>) {
    this.#work = work;
  }

  /** Starts the work in the background, unless it runs or ended a moment ago. */
  begin(): void {
    if (this.#isClosed || this.#running !== undefined || performance.now() - this.#endedAtMs < restMs) return;
    this.#running = this.#work().finally(() => {
      this.#running = undefined;
      this.#endedAtMs = performance.now();
    });
  }

  /** Resolves when nothing runs, and nothing will. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#running;
  }
}

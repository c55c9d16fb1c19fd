// One queue per key: work on the same object runs one after the other, work on different objects side by side.

/** Lock order: sandbox before container, never the other way round. */
export class KeyedLock {
  readonly #tails = new Map<string, Promise<void>>();

  /** Runs `work` once all earlier work under `key` has ended, and passes its result on. */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    let release: () => void = () => {};
    const tail = new Promise<void>((resolve) => {
      release = resolve;
    });
    const queued = before.then(() => tail);
    this.#tails.set(key, queued);
    await before;
    try {
      return await work();
    } finally {
      release();
      if (this.#tails.get(key) === queued) this.#tails.delete(key);
    }
  }
}

// Many sharers or one owner: attachments are made and removed side by side, and never while garbage is collected
// (CNI 1.1, section 3 "Lifecycle & Ordering").

export class SharedLock {
  #sharers = new Set<Promise<unknown>>();
  #owner: Promise<unknown> = Promise.resolve();

  /** Waits for an owner that has the lock or waits for it, so that owners are not kept waiting for ever. */
  async shared<T>(work: () => Promise<T>): Promise<T> {
    for (let owner: Promise<unknown> | undefined; owner !== this.#owner;) {
      owner = this.#owner;
      await owner;
    }
    const running = work();
    const settled = running.catch(() => {}).finally(() => this.#sharers.delete(settled));
    this.#sharers.add(settled);
    return running;
  }

  async exclusive<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#owner;
    const running = (async () => {
      await before;
      await Promise.all(this.#sharers);
      return work();
    })();
    this.#owner = running.catch(() => {});
    return running;
  }
}

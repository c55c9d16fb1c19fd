// Calls with the same key share one execution. The kubelet retries a call that timed out on its side; the retry
// must join the work that is still under way instead of failing with "name is reserved" (cri-o#7010).

export class SingleFlight<T> {
  readonly #flights = new Map<string, Promise<T>>();

  /** Runs `work`, or joins the run that is under way for `key`. */
  run(key: string, work: () => Promise<T>): Promise<T> {
    const running = this.#flights.get(key);
    if (running !== undefined) return running;
    const flight = work().finally(() => {
      this.#flights.delete(key);
    });
    this.#flights.set(key, flight);
    return flight;
  }

  has(key: string): boolean {
    return this.#flights.has(key);
  }
}

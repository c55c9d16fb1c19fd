// What one subscriber has not taken yet.
import { CricketError } from "../base/errors.ts";

/**
 * A bounded queue between a writer that never waits and one reader. A reader that falls behind by more than `limit` is
 * dropped: it learns so from an error, never from a gap.
 */
export class EventQueue<Event> implements Disposable {
  readonly #limit: number;
  readonly #onDispose: () => void;
  #events: Event[] = [];
  #failure: CricketError | undefined;
  #wake: (() => void) | undefined;

  constructor(limit: number, onDispose: () => void) {
    this.#limit = limit;
    this.#onDispose = onDispose;
  }

  /** False when the reader is too far behind: it is dropped now, and what waited for it is let go. */
  push(event: Event): boolean {
    if (this.#failure !== undefined) return false;
    if (this.#events.length >= this.#limit) {
      this.fail(
        new CricketError(
          "resource-exhausted",
          `the subscriber is ${this.#limit} events behind and was dropped: subscribe and list again`,
        ),
      );
      return false;
    }
    this.#events.push(event);
    this.#wake?.();
    return true;
  }

  /** Ends the subscription: the reader gets `error` instead of the next event. */
  fail(error: CricketError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#events = [];
    this.#wake?.();
  }

  /**
   * All events that wait, at least one, oldest first. One reader at a time.
   * @throws CricketError resource-exhausted when the reader was dropped, unavailable when the daemon stops, and
   * what `signal` was aborted with
   */
  async take(signal: AbortSignal): Promise<Event[]> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#events.length > 0) {
        const events = this.#events;
        this.#events = [];
        return events;
      }
      await this.#change(signal);
    }
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const settle = (): void => {
        this.#wake = undefined;
        signal.removeEventListener("abort", settle);
        resolve();
      };
      this.#wake = settle;
      signal.addEventListener("abort", settle, { once: true });
    });
  }

  /** Idempotent. */
  [Symbol.dispose](): void {
    this.#onDispose();
  }
}

// A helper that is started before it is needed: posix_spawn(3) and the start of cricket-init are then no part of a launch.
import { type HelperDescriptors, startHelper, type WaitingHelper } from "./waiting-helper.ts";
import { reapSoon } from "./reap.ts";

// Where launches follow each other faster, the start of a spare one would only hold the next one up.
const restMs = 10;

export class SpareHelper {
  readonly #descriptors: HelperDescriptors;
  #waiting: WaitingHelper | undefined;
  #refill: NodeJS.Timeout | undefined;
  #closed = false;

  /** Starts the first, if that can be: a daemon without one still serves what runs. */
  constructor(descriptors: HelperDescriptors) {
    this.#descriptors = descriptors;
    this.#tryStart();
  }

  /** The one that waits, the caller's from here on; another is started when there were no launches for a moment. */
  take(): WaitingHelper | undefined {
    const taken = this.#waiting;
    this.#waiting = undefined;
    taken?.control.ref();
    clearTimeout(this.#refill);
    this.#refill = setTimeout(() => this.#tryStart(), restMs).unref();
    return taken;
  }

  /** The one that waits ends. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#refill);
    this.#waiting?.control.destroy();
  }

  #tryStart(): void {
    if (this.#closed) return;
    try {
      this.#start();
    } catch {
      // The next launch starts its own, and says what is wrong.
    }
  }

  #start(): void {
    const waiting = startHelper(this.#descriptors);
    waiting.control.unref().on("error", () => {});
    waiting.control.once("close", () => {
      // Else it is somebody else's, who reaps it.
      if (this.#waiting !== waiting) return;
      this.#waiting = undefined;
      reapSoon(waiting.pid);
    });
    this.#waiting = waiting;
  }
}

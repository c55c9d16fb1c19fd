// The one loop that stops a container: the stop signal once, SIGKILL to everything when the grace period ends.
// Later calls with a shorter time-out win; while a process hangs in the kernel the loop backs off instead of
// spinning, holds no lock, and statuses are answered as ever (cri-o#1824, cri-o#7736).
import { isAlive } from "../linux/proc.ts";
import { signalNumber } from "../linux/signals.ts";
import type { ContainerRuntime } from "./container-runtime.ts";
import type { Container } from "./container-store.ts";

const firstKillWaitMs = 50;
const longestKillWaitMs = 5000;

export class StopLoop {
  readonly #container: Container;
  readonly #runtime: ContainerRuntime;
  /** By the monotonic clock: when the wall clock is set back, nobody's grace period gets longer. */
  #deadlineMs: number;
  #wake: () => void = () => {};
  /** Rejects when nothing can be killed for the moment; the loop has ended then, and another may be begun. */
  readonly done: Promise<void>;

  constructor(container: Container, timeoutMs: number, runtime: ContainerRuntime) {
    this.#container = container;
    this.#runtime = runtime;
    this.#deadlineMs = performance.now() + timeoutMs;
    this.done = this.#run(timeoutMs);
  }

  /** Another caller wants it stopped within `timeoutMs`: the earlier deadline counts. */
  hasten(timeoutMs: number): void {
    const deadlineMs = performance.now() + timeoutMs;
    if (deadlineMs >= this.#deadlineMs) return;
    this.#deadlineMs = deadlineMs;
    this.#wake();
  }

  async #run(timeoutMs: number): Promise<void> {
    const { init, startedAtNs, stopSignal } = this.#container.record;
    if (timeoutMs > 0 && startedAtNs !== undefined && init !== undefined) {
      // Not waited for: another runtime that hangs at it must not hold up the end of the grace period.
      this.#runtime.signal(this.#container, signalNumber(stopSignal)).catch(() => {});
      await this.#waitForGrace();
    }
    let waitMs = firstKillWaitMs;
    while (this.#container.state !== "exited") {
      if (init !== undefined && isAlive(init.pid, init.startTimeTicks)) this.#container.wasKilled = true;
      await this.#runtime.kill(this.#container);
      if (await this.#endsWithin(waitMs)) return;
      waitMs = Math.min(waitMs * 2, longestKillWaitMs);
    }
  }

  async #waitForGrace(): Promise<void> {
    for (;;) {
      const leftMs = this.#deadlineMs - performance.now();
      if (leftMs <= 0 || (await this.#endsWithin(leftMs))) return;
    }
  }

  /** True when the container's end is known; false after `waitMs` or when the deadline was moved. */
  async #endsWithin(waitMs: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const pause = new Promise<boolean>((resolve) => {
      // setTimeout takes at most 2^31 - 1 ms; a longer grace period just wakes up in between.
      timer = setTimeout(() => resolve(false), Math.min(waitMs, 0x7fffffff));
      this.#wake = () => resolve(false);
    });
    try {
      return await Promise.race([this.#container.ended.then(() => true), pause]);
    } finally {
      clearTimeout(timer);
    }
  }
}

// When a daemon gives memory back: after work that took much of it, once it has little to do. Pulls and streams leave
// some hundred MiB behind.
import { performance, type EventLoopUtilization } from "node:perf_hooks";
import { releaseMemory } from "./release-memory.ts";

export interface MemoryUse {
  /** Resident memory of the process. */
  residentBytes(): number;
  /** The share of the time since the last call in which the event loop was busy. */
  busyShare(): number;
  release(): Promise<void>;
}

const lookEveryMs = 3_000;
/** What is not worth the 40 ms in which a release holds up everything else. */
const slackBytes = 12 * 2 ** 20;
const restingShare = 0.1;
/** A daemon that is asked all the time never rests: so much is given back whenever it is not about to fall behind. */
const muchBytes = 40 * 2 ** 20;
const overloadedShare = 0.75;
/**
 * V8 lets its young generation shrink only when little has been allocated for some seconds: the second release, after
 * so many more looks at rest, finds 15 MiB that the first one does not.
 */
const looksToSecond = 3;

export class MemoryRest {
  readonly #use: MemoryUse;
  #floorBytes: number;
  #looksLeft = 0;

  constructor(use: MemoryUse) {
    this.#use = use;
    this.#floorBytes = use.residentBytes();
  }

  /** Gives memory back if the daemon has time for it and has much more than it had after the last time. */
  async look(): Promise<void> {
    const busyShare = this.#use.busyShare();
    const residentBytes = this.#use.residentBytes();
    const grownBytes = residentBytes - this.#floorBytes;
    const hasGrown = grownBytes > slackBytes;
    this.#floorBytes = Math.min(this.#floorBytes, residentBytes);
    if (busyShare > (grownBytes > muchBytes ? overloadedShare : restingShare)) return;
    if (hasGrown) this.#looksLeft = looksToSecond;
    else if (this.#looksLeft === 0 || --this.#looksLeft > 0) return;
    await this.#use.release();
    this.#floorBytes = this.#use.residentBytes();
  }
}

/** Looks every few seconds, until the function that is returned is called. */
export function releaseMemoryAtRest(onError: (error: unknown) => void): () => void {
  let last: EventLoopUtilization | undefined;
  const rest = new MemoryRest({
    residentBytes: () => process.memoryUsage.rss(),
    busyShare: () => {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, last);
      last = now;
      return utilization;
    },
    release: releaseMemory,
  });
  let looking = false;
  const timer = setInterval(() => {
    if (looking) return;
    looking = true;
    rest
      .look()
      .catch(onError)
      .finally(() => (looking = false));
  }, lookEveryMs).unref();
  return () => clearInterval(timer);
}

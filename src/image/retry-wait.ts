import { setTimeout as sleep } from "node:timers/promises";
import { throwIfAborted } from "./registry-errors.ts";

/** Waits, or throws what an aborted pull fails with. */
export async function waitBeforeRetry(delayMs: number, signal: AbortSignal): Promise<void> {
  await sleep(delayMs, undefined, { signal }).catch(() => {});
  throwIfAborted(signal);
}

import { setTimeout as delay } from "node:timers/promises";

const deadlineMs = 15_000;

/** Asks until it is true. @throws with `what` after 15 s */
export async function until(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + deadlineMs; !(await isTrue());) {
    if (Date.now() > deadline) throw new Error(`not within ${deadlineMs / 1000} s: ${what}`);
    await delay(10);
  }
}

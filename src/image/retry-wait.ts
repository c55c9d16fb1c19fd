// When and how long a registry that is busy or failing is waited for.
import { setTimeout as sleep } from "node:timers/promises";
import type { HttpAnswer } from "./http-transport.ts";
import { throwIfAborted } from "./registry-errors.ts";

export const requestAttempts = 3;
export const firstRetryDelayMs = 200;
/** A registry that asks for more patience than this is told to the caller as unavailable. */
const longestRetryDelayMs = 5000;

/** Waits, or throws what an aborted pull fails with. */
export async function waitBeforeRetry(delayMs: number, signal: AbortSignal): Promise<void> {
  await sleep(delayMs, undefined, { signal }).catch(() => {});
  throwIfAborted(signal);
}

/** True for an answer that another try may change: the registry is busy, overloaded or being restarted. */
export function isPassing(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/** How long to wait after the answer to try number `attempt`; undefined when it was the last one. */
export function retryDelayMs(
  answer: Pick<HttpAnswer, "status" | "header">,
  attempt: number,
  nowMs = Date.now(),
): number | undefined {
  const { status } = answer;
  // 501 and the like are the server's last word.
  if (!isPassing(status) || (status >= 500 && ![500, 502, 503, 504].includes(status))) return undefined;
  if (attempt >= requestAttempts) return undefined;
  const askedMs = parseRetryAfter(answer.header("retry-after"), nowMs);
  const delayMs = Math.max(firstRetryDelayMs * 2 ** (attempt - 1), askedMs);
  return delayMs <= longestRetryDelayMs ? delayMs : undefined;
}

/** Retry-After is a number of seconds or a date (RFC 9110, section 10.2.3); 0 for what is neither. */
function parseRetryAfter(text: string, nowMs: number): number {
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  // Date.parse takes a lone number for a year.
  const date = /^[A-Z][a-z]{2},? /.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? 0 : Math.max(0, date - nowMs);
}

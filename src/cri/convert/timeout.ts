// Time-outs of the CRI are whole seconds.
import { fromInt64 } from "../../../cri-api/int64.ts";
import type { Int64 } from "../../../cri-api/runtime/v1/api.js";
import { bigintWithin } from "./field.ts";

const int64Max = 2n ** 63n - 1n;
/** Longest delay of a timer in Node, 24.8 days: a longer one would fire at once. */
const maxTimerMs = 2_147_483_647n;

/** In milliseconds, at most what a timer can wait. @throws CricketError invalid-argument for a negative one */
export function timeoutMsFromWire(seconds: Int64, at: string): number {
  const ms = bigintWithin(fromInt64(seconds), { min: 0n, max: int64Max }, at) * 1000n;
  return Number(ms > maxTimerMs ? maxTimerMs : ms);
}

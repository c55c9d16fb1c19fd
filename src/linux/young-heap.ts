// The young generation of V8's heap, in this process.
import { setFlagsFromString } from "node:v8";

/**
 * V8 lets the young generation grow to 16 MiB a half as soon as a burst of calls needs it, and gives that back only
 * after seconds without allocations: 30 MiB for a daemon that is idle most of the time. At the size it has when this is
 * called, collections are more frequent and as quick as they are small.
 *
 * Holds until a thread is started: V8 corrects a factor below 2 whenever it sets up another heap.
 */
export function keepYoungHeapSmall(): void {
  setFlagsFromString("--semi-space-growth-factor=1");
}

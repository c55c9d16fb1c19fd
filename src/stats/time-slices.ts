// Work on many items, in slices: statistics of a thousand containers are read from some ten thousand cgroup files, and
// in between the daemon has to answer others.
import { setImmediate as nextTurn } from "node:timers/promises";

/** Long enough that a list of fifty needs one, short enough that nobody notices. */
const sliceMs = 10;

export async function mapInSlices<T, R>(items: readonly T[], map: (item: T) => R | Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let startedMs = performance.now();
  for (const item of items) {
    const result = map(item);
    results.push(result instanceof Promise ? await result : result);
    if (performance.now() - startedMs < sliceMs) continue;
    await nextTurn();
    startedMs = performance.now();
  }
  return results;
}

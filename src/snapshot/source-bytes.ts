// The bytes of a layer as the registry sends them: no more and no fewer than announced, and no longer than wanted.
import { CricketError } from "../base/errors.ts";
import type { LayerSource } from "./layer-store.ts";

/**
 * Passes `source.bytes` on; throws failed-precondition when the length is not `source.sizeBytes`, and at once when
 * `signal` fires, also while the source stalls.
 */
export async function* sourceBytes(source: LayerSource, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const iterator = source.bytes[Symbol.asyncIterator]();
  let done = 0;
  let finished = false;
  try {
    for (;;) {
      const next = await nextOrAbort(iterator, signal);
      if (next.done === true) break;
      done += next.value.length;
      if (done > source.sizeBytes) throw wrongLength(source, `more than ${source.sizeBytes}`);
      yield next.value;
    }
    finished = true;
    if (done < source.sizeBytes) throw wrongLength(source, `${done} instead of ${source.sizeBytes}`);
  } finally {
    // Not awaited: a source that stalls would not answer.
    if (!finished) void iterator.return?.().catch(() => {});
  }
}

function wrongLength(source: LayerSource, found: string): CricketError {
  return new CricketError("failed-precondition", `blob ${source.blobDigest} has ${found} bytes`);
}

// Not Promise.race with one promise for the whole stream: that would keep a reaction for every chunk until its end.
function nextOrAbort(
  iterator: AsyncIterator<Uint8Array>,
  signal: AbortSignal,
): Promise<IteratorResult<Uint8Array>> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(abortError(signal));
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    iterator
      .next()
      .finally(() => signal.removeEventListener("abort", abort))
      .then(resolve, reject);
  });
}

function abortError(signal: AbortSignal): CricketError {
  if (signal.reason instanceof CricketError) return signal.reason;
  return new CricketError("cancelled", "unpacking was cancelled", { cause: signal.reason });
}

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
  const aborted = abortion(signal);
  try {
    for (;;) {
      const next = await Promise.race([iterator.next(), aborted.promise]);
      if (next.done === true) break;
      done += next.value.length;
      if (done > source.sizeBytes) throw wrongLength(source, `more than ${source.sizeBytes}`);
      yield next.value;
    }
    finished = true;
    if (done < source.sizeBytes) throw wrongLength(source, `${done} instead of ${source.sizeBytes}`);
  } finally {
    aborted.release();
    // Not awaited: a source that stalls would not answer.
    if (!finished) void iterator.return?.().catch(() => {});
  }
}

function wrongLength(source: LayerSource, found: string): CricketError {
  return new CricketError("failed-precondition", `blob ${source.blobDigest} has ${found} bytes`);
}

function abortion(signal: AbortSignal): { promise: Promise<never>; release: () => void } {
  let release = (): void => {};
  const promise = new Promise<never>((_resolve, reject) => {
    const abort = (): void => reject(abortError(signal));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    release = () => signal.removeEventListener("abort", abort);
  });
  promise.catch(() => {});
  return { promise, release };
}

function abortError(signal: AbortSignal): CricketError {
  if (signal.reason instanceof CricketError) return signal.reason;
  return new CricketError("cancelled", "unpacking was cancelled", { cause: signal.reason });
}

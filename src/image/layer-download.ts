// The bytes of one layer, whole and in order, over as many connections as it takes.
import { performance } from "node:perf_hooks";
import { CricketError } from "../base/errors.ts";
import { isDroppedConnection } from "./http-transport.ts";
import type { ImageSource } from "./image-source.ts";
import type { LayerDescriptor } from "./manifest.ts";
import type { BlobBody } from "./registry-client.ts";
import { registryUnavailable, throwIfAborted } from "./registry-errors.ts";
import { waitBeforeRetry } from "./retry-wait.ts";

export interface LayerDownload {
  source: ImageSource;
  descriptor: LayerDescriptor;
  signal: AbortSignal;
  /** Longest wait in which next to nothing arrives; 0 waits for ever. */
  stallTimeoutMs: number;
  onBytes: (doneBytes: number) => void;
}

/** Dropped connections in a row without a single new byte. */
const fruitlessLimit = 4;
/** Dropped connections in one layer at all: a registry that hands out crumbs must not keep a pull alive for ever. */
const dropLimit = 64;
const retryDelayMs = 200;
/** Less than this in a whole stall time-out counts as a stall: drips keep a connection open, but finish nothing. */
const progressBytes = 16 * 1024;

/**
 * Streams the blob of a layer and goes on with a range request where a connection is dropped. Throws
 * RegistryUnavailable on a stall and when resuming does not help, failed-precondition when the registry sends another
 * length than the manifest promises. The content is the caller's to verify.
 */
export async function* downloadLayer(download: LayerDownload): AsyncGenerator<Uint8Array, void, undefined> {
  const { descriptor, source, signal } = download;
  let doneBytes = 0;
  for (let drops = 0, fruitless = 0; doneBytes < descriptor.sizeBytes || drops === 0; drops++) {
    const startedAt = doneBytes;
    try {
      const body = await source.openBlob(descriptor.digest, doneBytes, signal);
      for await (const chunk of bodyFrom(body, doneBytes, download)) {
        doneBytes = advance(doneBytes, chunk, download);
        yield chunk;
      }
      if (doneBytes === descriptor.sizeBytes) return;
      // It ended in order, yet early: what is served is shorter than what was promised.
      throw wrongLength(descriptor, String(doneBytes));
    } catch (error) {
      throwIfAborted(signal);
      fruitless = doneBytes > startedAt ? 0 : fruitless + 1;
      if (!isDroppedConnection(error) || fruitless >= fruitlessLimit || drops >= dropLimit) throw error;
      await waitBeforeRetry(retryDelayMs * (fruitless + 1), signal);
    }
  }
}

function advance(doneBytes: number, chunk: Uint8Array, { descriptor, onBytes }: LayerDownload): number {
  const next = doneBytes + chunk.length;
  if (next > descriptor.sizeBytes) throw wrongLength(descriptor, `more than ${descriptor.sizeBytes}`);
  onBytes(next);
  return next;
}

/** The part of a body from `offset` on: a registry that ignores the range sends the beginning once more. */
async function* bodyFrom(
  body: BlobBody,
  offset: number,
  download: LayerDownload,
): AsyncGenerator<Uint8Array> {
  const { descriptor } = download;
  if (body.totalBytes !== undefined && body.totalBytes !== descriptor.sizeBytes) {
    await body.bytes[Symbol.asyncIterator]().return?.();
    throw wrongLength(descriptor, String(body.totalBytes));
  }
  let skip = offset - body.offset;
  try {
    for await (const chunk of withoutStall(body.bytes, download)) {
      const rest = skip >= chunk.length ? undefined : chunk.subarray(skip);
      skip = Math.max(0, skip - chunk.length);
      if (rest !== undefined) yield rest;
    }
  } catch (error) {
    throw body.explain(error);
  }
}

/** Counts only the time spent waiting for the registry: a slow disk is no stall. */
async function* withoutStall(
  bytes: AsyncIterable<Uint8Array>,
  { stallTimeoutMs, descriptor }: LayerDownload,
): AsyncGenerator<Uint8Array> {
  let waitedMs = 0;
  let receivedBytes = 0;
  let waitingSince = performance.now();
  for await (const chunk of bytes) {
    waitedMs += performance.now() - waitingSince;
    receivedBytes += chunk.length;
    if (receivedBytes >= progressBytes) waitedMs = receivedBytes = 0;
    else if (stallTimeoutMs > 0 && waitedMs > stallTimeoutMs)
      throw registryUnavailable(
        `layer ${descriptor.digest}: only ${receivedBytes} bytes came in ${stallTimeoutMs} ms`,
      );
    yield chunk;
    waitingSince = performance.now();
  }
}

function wrongLength(descriptor: LayerDescriptor, actual: string): CricketError {
  return new CricketError(
    "failed-precondition",
    `layer ${descriptor.digest}: the registry has ${actual} bytes, the manifest promises ${descriptor.sizeBytes}`,
  );
}

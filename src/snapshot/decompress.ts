// Compressed bytes of a layer -> the bytes of its tar archive.
import { createGunzip, type Zlib } from "node:zlib";
import * as zlib from "node:zlib";
import type { Transform } from "node:stream";
import { ZstdDecompressor } from "../linux/zstd.ts";
import { CricketError, messageOf } from "../base/errors.ts";
import { ChunkQueue } from "./chunk-queue.ts";
import type { LayerCompression } from "./layer-store.ts";

/** Decompressed chunks that may wait for the reader. */
const maxWaiting = 4;

/** zlib.createZstdDecompress came with Node 22.15. */
type CreateZstdDecompress = (options: { chunkSize: number }) => Transform & Zlib;

/**
 * Decompresses a stream. `declared` is what the media type says; where the first bytes are those of another format,
 * they decide, as in the other engines: registries hold layers with the wrong media type, and the diff id is checked
 * anyway. Chunks have at most `chunkBytes`.
 */
export async function* decompress(
  bytes: AsyncIterable<Uint8Array>,
  declared: LayerCompression,
  chunkBytes: number,
): AsyncGenerator<Uint8Array> {
  const source = bytes[Symbol.asyncIterator]();
  const first = await readFirst(source);
  if (first.length === 0) {
    if (declared !== "none") throw broken(declared, "no data");
    return;
  }
  const all = rejoin(first, source);
  const compression = detectCompression(first, declared);
  if (compression === "none") yield* all;
  else if (compression === "gzip") yield* throughStream(all, createGunzip({ chunkSize: chunkBytes }), "gzip");
  else yield* unzstd(all, chunkBytes);
}

/** What it takes to see the magic number of a tar header. */
const magicBytes = 262;

/** The beginning of the stream, long enough for any magic number: the first piece from a network may be a single byte. */
async function readFirst(source: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for (let length = 0; length < magicBytes;) {
    const next = await source.next();
    if (next.done === true) break;
    if (pieces.length === 0 && next.value.length >= magicBytes) return next.value;
    // Copied: its memory may be used again when the next one is asked for.
    pieces.push(Uint8Array.from(next.value));
    length += next.value.length;
  }
  return Buffer.concat(pieces);
}

/** The format by its magic number; without one, what was declared. */
export function detectCompression(first: Uint8Array, declared: LayerCompression): LayerCompression {
  if (first[0] === 0x1f && first[1] === 0x8b) return "gzip";
  const magic = first.length < 4 ? 0 : Buffer.from(first.buffer, first.byteOffset).readUInt32LE(0);
  // A frame, or a skippable frame (RFC 8878, 3.1.1 and 3.1.2), as zstd:chunked layers may begin with.
  if (magic === 0xfd2fb528 || (magic & 0xfffffff0) >>> 0 === 0x184d2a50) return "zstd";
  const isTar =
    first.length >= magicBytes && Buffer.from(first.subarray(257, 262)).toString("latin1") === "ustar";
  return isTar ? "none" : declared;
}

async function* rejoin(
  first: Uint8Array,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield first;
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}

async function* unzstd(bytes: AsyncIterable<Uint8Array>, chunkBytes: number): AsyncGenerator<Uint8Array> {
  const create = (zlib as { createZstdDecompress?: CreateZstdDecompress }).createZstdDecompress;
  if (create !== undefined) yield* throughStream(bytes, create({ chunkSize: chunkBytes }), "zstd");
  else yield* throughLibzstd(bytes);
}

async function* throughLibzstd(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const decompressor = new ZstdDecompressor();
  try {
    for await (const chunk of bytes) yield* decompressor.decompress(chunk);
    decompressor.finish();
  } finally {
    decompressor.close();
  }
}

/** The stream's 'data' events and not its iterator, which would join waiting chunks into one by copying them. */
async function* throughStream(
  bytes: AsyncIterable<Uint8Array>,
  stream: Transform,
  format: LayerCompression,
): AsyncGenerator<Uint8Array> {
  const output: ChunkQueue = new ChunkQueue(() => {
    if (output.length < maxWaiting) stream.resume();
  });
  stream.on("data", (chunk: Uint8Array) => {
    output.push(chunk);
    if (output.length >= maxWaiting) stream.pause();
  });
  stream.on("end", () => output.end());
  stream.on("error", (error) => output.fail(broken(format, messageOf(error))));
  const feeding = feed(bytes, stream).catch((error: unknown) => {
    output.fail(error);
    stream.destroy();
  });
  try {
    yield* output;
    await feeding;
  } finally {
    stream.destroy();
  }
}

/** Waits until each chunk is used up before it asks for the next one: its memory may be used again then. */
async function feed(bytes: AsyncIterable<Uint8Array>, stream: Transform): Promise<void> {
  for await (const chunk of bytes) {
    // 'close' without an error: the reader has gone.
    await new Promise<void>((resolve) => {
      stream.once("close", resolve);
      stream.write(chunk, () => {
        stream.off("close", resolve);
        resolve();
      });
    });
    if (stream.destroyed) return;
  }
  stream.end();
}

function broken(format: LayerCompression, reason: string): CricketError {
  return new CricketError("failed-precondition", `${format}: ${reason}`);
}

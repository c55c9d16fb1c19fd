// One layer from its compressed bytes to a directory, in one pass: digest, decompress, diff id, unpack.
import { createHash, type Hash } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { decompress } from "./decompress.ts";
import type { LayerCompression } from "./layer-store.ts";
import { badArchive } from "./tar-entry.ts";
import { TarReader } from "./tar-reader.ts";
import { LayerUnpacker, type UnpackedLayer } from "./unpack-layer.ts";

export interface UnpackRequest {
  /** An existing, empty directory that nobody else uses. */
  directory: string;
  compression: LayerCompression;
  /** How many bytes are decompressed before they are unpacked in one go. */
  chunkBytes: number;
  /** Bounds for what a small archive can blow up to. */
  maxEntries: number;
  maxTarBytes: number;
}

export interface UnpackResult extends UnpackedLayer {
  /** "sha256:<hex>" of the bytes as they came. */
  blobDigest: string;
  blobBytes: number;
  /** "sha256:<hex>" of the tar archive. */
  diffId: string;
}

/**
 * Unpacks `bytes` into `request.directory`. The unpacking itself is synchronous, a chunk at a time. Throws
 * failed-precondition for a broken archive; what was unpacked until then stays for the caller to delete.
 */
export async function unpackStream(
  bytes: AsyncIterable<Uint8Array>,
  request: UnpackRequest,
): Promise<UnpackResult> {
  const blob = { hash: createHash("sha256"), bytes: 0 };
  const tarHash = createHash("sha256");
  const rootFd = openSync(request.directory, "r");
  let unpacker: LayerUnpacker | undefined;
  try {
    unpacker = new LayerUnpacker(rootFd);
    const reader = new TarReader(unpacker, request.maxEntries);
    let tarBytes = 0;
    for await (const chunk of decompress(counted(bytes, blob), request.compression, request.chunkBytes)) {
      tarBytes += chunk.length;
      if (tarBytes > request.maxTarBytes)
        throw badArchive(`archive is larger than ${request.maxTarBytes} bytes`);
      tarHash.update(chunk);
      reader.push(chunk);
      // Lets the decompressor's callback run, so that the next chunk is made on another thread meanwhile.
      await nextTurn();
    }
    reader.finish();
    const unpacked = unpacker.finish();
    return { ...unpacked, blobDigest: digest(blob.hash), blobBytes: blob.bytes, diffId: digest(tarHash) };
  } finally {
    unpacker?.close();
    closeSync(rootFd);
  }
}

async function* counted(
  bytes: AsyncIterable<Uint8Array>,
  blob: { hash: Hash; bytes: number },
): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    blob.hash.update(chunk);
    blob.bytes += chunk.length;
    yield chunk;
  }
}

function digest(hash: Hash): string {
  return `sha256:${hash.digest("hex")}`;
}

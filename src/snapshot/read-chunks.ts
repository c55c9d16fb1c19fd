// A file as a stream of its bytes, whose descriptor stays its owner's: Node's streams close what they read, in their own
// time.
import { read } from "node:fs";
import { promisify } from "node:util";

const readAsync = promisify(read);

/** From where the descriptor stands. */
export async function* readChunks(fd: number, chunkBytes: number): AsyncGenerator<Uint8Array> {
  for (;;) {
    // Of its own each: a decompressor may still read the last one.
    const buffer = Buffer.allocUnsafe(chunkBytes);
    const { bytesRead } = await readAsync(fd, buffer, 0, chunkBytes, null);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

// Zstandard by libzstd.so.1, for Node versions whose zlib has none (it came with 22.15 and 23.8).
import koffi, { type KoffiFunc } from "koffi";
import { CricketError } from "../base/errors.ts";

type NativeCall = KoffiFunc<(...args: unknown[]) => unknown>;

interface ZstdLibrary {
  createStream: NativeCall;
  freeStream: NativeCall;
  decompressStream: NativeCall;
  isError: NativeCall;
  errorName: NativeCall;
  outputChunkBytes: number;
}

let loaded: ZstdLibrary | undefined;

function loadZstd(): ZstdLibrary {
  if (loaded !== undefined) return loaded;
  let library;
  try {
    library = koffi.load("libzstd.so.1");
  } catch (error) {
    throw new CricketError(
      "unimplemented",
      `load libzstd.so.1: ${String(error)}; zstd layers need Node 22.15 or libzstd`,
      { cause: error },
    );
  }
  loaded = {
    createStream: library.func("void *ZSTD_createDStream(void)"),
    freeStream: library.func("size_t ZSTD_freeDStream(void *stream)"),
    // size_t ZSTD_decompressStream(ZSTD_DStream *zds, ZSTD_outBuffer *output, ZSTD_inBuffer *input)
    decompressStream: library.func(
      "size_t ZSTD_decompressStream(void *stream, _Inout_ void *output, _Inout_ void *input)",
    ),
    isError: library.func("unsigned int ZSTD_isError(size_t code)"),
    errorName: library.func("const char *ZSTD_getErrorName(size_t code)"),
    outputChunkBytes: Number(library.func("size_t ZSTD_DStreamOutSize(void)")()),
  };
  return loaded;
}

/**
 * One zstd stream of any number of frames, skippable ones included. Decompression is synchronous. The window, and so
 * the memory a hostile frame can ask for, is bounded by libzstd's own default of 128 MiB.
 */
export class ZstdDecompressor {
  readonly #library: ZstdLibrary;
  #stream: unknown;
  // ZSTD_inBuffer and ZSTD_outBuffer: pointer, size, position.
  readonly #input = Buffer.alloc(24);
  readonly #output = Buffer.alloc(24);
  #frameOpen = false;

  /** Throws "unimplemented" when the library is missing. */
  constructor() {
    this.#library = loadZstd();
    this.#stream = this.#library.createStream();
    if (this.#stream === null) throw new CricketError("resource-exhausted", "ZSTD_createDStream: no memory");
  }

  /** Yields what `bytes` decompress to, in pieces that are the caller's to keep. */
  *decompress(bytes: Uint8Array): Generator<Buffer> {
    this.#setBuffer(this.#input, bytes, bytes.length);
    for (let more = bytes.length > 0; more;) {
      const piece = Buffer.allocUnsafeSlow(this.#library.outputChunkBytes);
      const length = this.#step(piece);
      if (length > 0) yield piece.subarray(0, length);
      // A full output may mean that more waits inside the stream although the input is used up.
      more = this.#position(this.#input) < bytes.length || length === piece.length;
    }
  }

  /** Throws when the last frame is incomplete. */
  finish(): void {
    if (this.#frameOpen) throw new CricketError("failed-precondition", "zstd: unexpected end of data");
  }

  close(): void {
    if (this.#stream !== null) this.#library.freeStream(this.#stream);
    this.#stream = null;
  }

  #step(piece: Buffer): number {
    this.#setBuffer(this.#output, piece, piece.length);
    const before = this.#position(this.#input);
    const result = this.#library.decompressStream(this.#stream, this.#output, this.#input) as number | bigint;
    if (this.#library.isError(result) !== 0)
      throw new CricketError("failed-precondition", `zstd: ${String(this.#library.errorName(result))}`);
    const written = this.#position(this.#output);
    // 0 means that a frame has ended; a call that neither read nor wrote says nothing new.
    if (written > 0 || this.#position(this.#input) > before) this.#frameOpen = BigInt(result) !== 0n;
    return written;
  }

  #setBuffer(holder: Buffer, bytes: Uint8Array, length: number): void {
    holder.writeBigUInt64LE(koffi.address(bytes), 0);
    holder.writeBigUInt64LE(BigInt(length), 8);
    holder.writeBigUInt64LE(0n, 16);
  }

  #position(holder: Buffer): number {
    return Number(holder.readBigUInt64LE(16));
  }
}

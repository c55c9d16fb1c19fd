// Splits a tar stream into entries, synchronously and without copying data. Header blocks are decoded by tar-stream's
// codec. Its extract() is not in use: it decodes pax values as UTF-8, which destroys binary extended attributes
// (security.capability) and names, hides old GNU sparse maps, and reads on behind the end of an archive, where other
// readers stop.
import { badArchive, printableName, type TarEntry, type TarSink } from "./tar-entry.ts";
import { decodeTarHeader, resolveTarEntry, type TarExtensions, type TarHeader } from "./tar-header.ts";
import { parsePaxRecords } from "./pax-records.ts";
import { checkedMap, OldGnuSparse, parsePaxSparse, SparseMapReader } from "./sparse-map.ts";

const blockBytes = 512;

/** The limit for pax headers and GNU long names; the same as in Go's archive/tar. */
const maxExtensionBytes = 1024 * 1024;

type State =
  | { at: "header" }
  /** Data of the current entry goes to the sink. */
  | { at: "data"; left: number }
  /** The rest of a block, or an extension that is ignored. `mayEnd`: behind the data of an entry, which is whole. */
  | { at: "skip"; left: number; mayEnd: boolean }
  | { at: "extension"; typeFlag: string; bytes: Buffer; filled: number }
  | { at: "old-sparse"; header: TarHeader; sparse: OldGnuSparse }
  | { at: "sparse-map"; entry: TarEntry; sizeBytes: number; left: number; map: SparseMapReader }
  /** Behind the first block of zeros: nothing but zeros may follow. */
  | { at: "end" };

export class TarReader {
  readonly #sink: TarSink;
  readonly #maxEntries: number;
  #entries = 0;
  #state: State = { at: "header" };
  #extensions: TarExtensions = { pax: [] };
  readonly #partial = Buffer.alloc(blockBytes);
  #partialBytes = 0;
  #chunk: Buffer = Buffer.alloc(0);
  #position = 0;
  // Bytes of the current entry including its padding, to find the next header.
  #padding = 0;

  /** `maxEntries` counts headers of every kind. */
  constructor(sink: TarSink, maxEntries: number) {
    this.#sink = sink;
    this.#maxEntries = maxEntries;
  }

  /** Takes the next bytes of the archive. Throws for a malformed one; the reader is useless then. */
  push(chunk: Uint8Array): void {
    this.#chunk = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    this.#position = 0;
    while (this.#position < this.#chunk.length) this.#step();
  }

  /**
   * Throws when the archive stops in the middle of something. It may stop behind the last byte of its last file: layers
   * of writers that never closed their archive (umoci's insert) are read by Go's archive/tar, and so by other engines.
   */
  finish(): void {
    const { at } = this.#state;
    if (at === "end" || (at === "skip" && this.#state.mayEnd)) return;
    const pending = this.#extensions;
    const extended = pending.pax.length > 0 || pending.gnuLongName !== undefined;
    if (at !== "header" || this.#partialBytes > 0 || extended || pending.gnuLongLinkName !== undefined)
      throw badArchive("archive is truncated");
  }

  #step(): void {
    const state = this.#state;
    switch (state.at) {
      case "header":
        return this.#withBlock((block) => this.#readHeader(block));
      case "data":
        return this.#readData(state);
      case "skip":
        return this.#skip(state);
      case "extension":
        return this.#readExtension(state);
      case "old-sparse":
        return this.#withBlock((block) => {
          state.sparse.addBlock(block);
          if (state.sparse.complete) this.#startOldSparse(state.header, state.sparse);
        });
      case "sparse-map":
        return this.#withBlock((block) => this.#readSparseMap(state, block));
      case "end":
        if (this.#take(this.#chunk.length).some((byte) => byte !== 0))
          throw badArchive("data behind the end of the archive");
    }
  }

  /** At most `limit` bytes of the chunk. */
  #take(limit: number): Buffer {
    const end = Math.min(this.#position + limit, this.#chunk.length);
    const piece = this.#chunk.subarray(this.#position, end);
    this.#position = end;
    return piece;
  }

  /** Calls `use` with the next whole block, once there is one; the block is valid during the call. */
  #withBlock(use: (block: Buffer) => void): void {
    const piece = this.#take(blockBytes - this.#partialBytes);
    if (piece.length === blockBytes) return use(piece);
    piece.copy(this.#partial, this.#partialBytes);
    this.#partialBytes += piece.length;
    if (this.#partialBytes < blockBytes) return;
    this.#partialBytes = 0;
    use(this.#partial);
  }

  #readHeader(block: Buffer): void {
    const header = decodeTarHeader(block);
    if (header === undefined) {
      this.#state = { at: "end" };
      return;
    }
    this.#entries++;
    if (this.#entries > this.#maxEntries)
      throw badArchive(`archive has more than ${this.#maxEntries} entries`);
    if ("xLK".includes(header.typeFlag)) this.#startExtension(header);
    // A global pax header describes the archive (git writes the commit there), not its entries.
    else if (header.typeFlag === "g") this.#skipBlocks(header.sizeBytes);
    else if (header.typeFlag === "S") this.#readOldSparse(header, new OldGnuSparse(block));
    else this.#startEntry(header);
  }

  #startExtension(header: TarHeader): void {
    if (header.sizeBytes > maxExtensionBytes)
      throw badArchive(`extension header ${header.typeFlag} of ${header.sizeBytes} bytes is too long`);
    const bytes = Buffer.alloc(header.sizeBytes);
    this.#state = { at: "extension", typeFlag: header.typeFlag, bytes, filled: 0 };
    if (bytes.length === 0) this.#state = { at: "header" };
  }

  #readExtension(state: Extract<State, { at: "extension" }>): void {
    const piece = this.#take(state.bytes.length - state.filled);
    piece.copy(state.bytes, state.filled);
    state.filled += piece.length;
    if (state.filled < state.bytes.length) return;
    const extensions = this.#extensions;
    if (state.typeFlag === "x") extensions.pax.push(...parsePaxRecords(state.bytes));
    else {
      const name = state.bytes.toString("latin1").replace(/\0.*$/s, "");
      if (state.typeFlag === "L") extensions.gnuLongName = name;
      else extensions.gnuLongLinkName = name;
    }
    this.#skipPadding(state.bytes.length);
  }

  #readOldSparse(header: TarHeader, sparse: OldGnuSparse): void {
    if (sparse.complete) this.#startOldSparse(header, sparse);
    else this.#state = { at: "old-sparse", header, sparse };
  }

  #startOldSparse(header: TarHeader, sparse: OldGnuSparse): void {
    const entry = this.#resolve(header);
    entry.sparse = sparse.map(entry.dataBytes);
    this.#emit(entry);
  }

  #startEntry(header: TarHeader): void {
    const sparse = parsePaxSparse(this.#extensions.pax);
    const entry = this.#resolve(header);
    if (sparse === undefined || entry.type !== "file") return this.#emit(entry);
    if (sparse.name !== undefined) entry.name = sparse.name;
    if (sparse.format === "0.x") {
      entry.sparse = checkedMap(sparse.sizeBytes, sparse.segments, entry.dataBytes);
      return this.#emit(entry);
    }
    const { sizeBytes } = sparse;
    this.#state = { at: "sparse-map", entry, sizeBytes, left: entry.dataBytes, map: new SparseMapReader() };
  }

  #readSparseMap(state: Extract<State, { at: "sparse-map" }>, block: Buffer): void {
    state.left -= blockBytes;
    if (state.left < 0) throw badArchive(`entry ${printableName(state.entry.name)}: sparse map is truncated`);
    if (!state.map.addBlock(block)) return;
    const entry = { ...state.entry, dataBytes: state.left };
    entry.sparse = checkedMap(state.sizeBytes, state.map.segments(), state.left);
    this.#emit(entry);
  }

  #resolve(header: TarHeader): TarEntry {
    const entry = resolveTarEntry(header, this.#extensions);
    this.#extensions = { pax: [] };
    return entry;
  }

  #emit(entry: TarEntry): void {
    this.#sink.entry(entry);
    this.#padding = paddingOf(entry.dataBytes);
    if (entry.dataBytes > 0) this.#state = { at: "data", left: entry.dataBytes };
    else this.#endEntry();
  }

  #readData(state: Extract<State, { at: "data" }>): void {
    const piece = this.#take(state.left);
    state.left -= piece.length;
    this.#sink.data(piece);
    if (state.left === 0) this.#endEntry();
  }

  #endEntry(): void {
    this.#sink.endOfEntry();
    this.#state = this.#padding > 0 ? { at: "skip", left: this.#padding, mayEnd: true } : { at: "header" };
  }

  #skip(state: Extract<State, { at: "skip" }>): void {
    state.left -= this.#take(state.left).length;
    if (state.left === 0) this.#state = { at: "header" };
  }

  #skipBlocks(bytes: number): void {
    const left = bytes + paddingOf(bytes);
    this.#state = left > 0 ? { at: "skip", left, mayEnd: false } : { at: "header" };
  }

  #skipPadding(bytes: number): void {
    const left = paddingOf(bytes);
    this.#state = left > 0 ? { at: "skip", left, mayEnd: false } : { at: "header" };
  }
}

function paddingOf(bytes: number): number {
  const over = bytes % blockBytes;
  return over === 0 ? 0 : blockBytes - over;
}

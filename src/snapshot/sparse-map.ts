// The maps of sparse files in tar archives: GNU's old header form and its pax formats 0.0, 0.1 and 1.0
// (GNU tar manual, "Storing Sparse Files").
import { parseDecimal, type PaxRecord } from "./pax-records.ts";
import { badArchive, type SparseMap, type SparseSegment } from "./tar-entry.ts";

/** A map of more segments is refused: 16 bytes of memory each, and no real file comes near. */
const maxSegments = 65_536;

/** The numeric fields of a header block: octal text, or base 256 when the first bit is set. */
function parseHeaderNumber(field: Buffer): number {
  const first = field[0] ?? 0;
  let value = 0;
  if ((first & 0x80) !== 0) {
    value = first & 0x7f;
    for (const byte of field.subarray(1)) value = value * 256 + byte;
  } else {
    const text = field.toString("latin1").replace(/\0.*$/s, "").trim();
    if (!/^[0-7]*$/.test(text)) throw badArchive(`bad number ${JSON.stringify(text)} in a header`);
    value = text === "" ? 0 : Number.parseInt(text, 8);
  }
  if (!Number.isSafeInteger(value)) throw badArchive("number in a header is too large");
  return value;
}

/** The map of an old GNU sparse entry (type S), which goes on in blocks of its own behind the header. */
export class OldGnuSparse {
  readonly #segments: SparseSegment[] = [];
  readonly sizeBytes: number;
  #complete: boolean;

  /** `header`: 512 bytes; 4 segments at 386, "is extended" at 482, real size at 483. */
  constructor(header: Buffer) {
    this.sizeBytes = parseHeaderNumber(header.subarray(483, 495));
    this.#addSegments(header, 386, 4);
    this.#complete = header[482] === 0;
  }

  get complete(): boolean {
    return this.#complete;
  }

  /** `block`: 512 bytes; 21 segments, "is extended" at 504. */
  addBlock(block: Buffer): void {
    this.#addSegments(block, 0, 21);
    this.#complete = block[504] === 0;
  }

  map(dataBytes: number): SparseMap {
    return checkedMap(this.sizeBytes, this.#segments, dataBytes);
  }

  #addSegments(block: Buffer, start: number, count: number): void {
    for (let at = start; at < start + count * 24; at += 24) {
      if (block[at] === 0) return;
      if (this.#segments.length >= maxSegments) throw badArchive("sparse map has too many segments");
      const offset = parseHeaderNumber(block.subarray(at, at + 12));
      const length = parseHeaderNumber(block.subarray(at + 12, at + 24));
      this.#segments.push({ offset, length });
    }
  }
}

/** What the pax records of an entry say about its sparse form. */
export type PaxSparse = { name?: string; sizeBytes: number } & (
  | { format: "0.x"; segments: SparseSegment[] }
  /** The map stands in front of the data. */
  | { format: "1.0" }
);

/** Undefined when the records describe no sparse file. */
export function parsePaxSparse(records: readonly PaxRecord[]): PaxSparse | undefined {
  const sparse = records.filter(([key]) => key.startsWith("GNU.sparse."));
  if (sparse.length === 0) return undefined;
  const values = new Map(sparse.map(([key, value]) => [key, value.toString("latin1")]));
  const size = values.get("GNU.sparse.realsize") ?? values.get("GNU.sparse.size");
  if (size === undefined) throw badArchive("sparse file without its real size");
  const name = values.get("GNU.sparse.name");
  const common = { sizeBytes: parseDecimal(size, "GNU.sparse.size"), ...(name !== undefined && { name }) };
  const major = values.get("GNU.sparse.major") ?? "0";
  if (major === "0") return { ...common, format: "0.x", segments: pairUp(numbersOf(sparse, values)) };
  if (major === "1" && values.get("GNU.sparse.minor") === "0") return { ...common, format: "1.0" };
  throw badArchive(`sparse format ${major} is not known`);
}

/** Offsets and lengths: one list in format 0.1, a pair of records for each segment in 0.0. */
function numbersOf(sparse: readonly PaxRecord[], values: ReadonlyMap<string, string>): number[] {
  const map = values.get("GNU.sparse.map");
  if (map !== undefined) return parseNumberList(map.split(","));
  return sparse
    .filter(([key]) => key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes")
    .map(([key, value]) => parseDecimal(value.toString("latin1"), key));
}

/** Collects the map of format 1.0: decimal lines (count, then offset and length of each), padded to whole blocks. */
export class SparseMapReader {
  #text = "";
  #lines = 0;
  #needed = 1;

  /** Takes the next block of data; true once the map is complete. */
  addBlock(block: Buffer): boolean {
    this.#text += block.toString("latin1");
    for (const byte of block) {
      if (byte !== 0x0a) continue;
      this.#lines++;
      if (this.#lines === 1) this.#needed = 1 + 2 * this.#segmentCount();
      if (this.#lines === this.#needed) return true;
    }
    if (this.#text.length > maxSegments * 34) throw badArchive("sparse map is too long");
    return false;
  }

  segments(): SparseSegment[] {
    return pairUp(parseNumberList(this.#text.split("\n").slice(1, this.#needed)));
  }

  #segmentCount(): number {
    const count = parseDecimal(this.#text.slice(0, this.#text.indexOf("\n")), "sparse map");
    if (count > maxSegments) throw badArchive("sparse map has too many segments");
    return count;
  }
}

function parseNumberList(texts: readonly string[]): number[] {
  return texts.filter((text) => text !== "").map((text) => parseDecimal(text, "sparse map"));
}

function pairUp(numbers: readonly number[]): SparseSegment[] {
  if (numbers.length % 2 !== 0) throw badArchive("sparse map has an offset without a length");
  if (numbers.length / 2 > maxSegments) throw badArchive("sparse map has too many segments");
  const segments: SparseSegment[] = [];
  for (let i = 0; i < numbers.length; i += 2)
    segments.push({ offset: numbers[i] ?? 0, length: numbers[i + 1] ?? 0 });
  return segments;
}

/** Throws unless the segments are in order, inside the file, and hold exactly the data that follows. */
export function checkedMap(
  sizeBytes: number,
  segments: readonly SparseSegment[],
  dataBytes: number,
): SparseMap {
  let end = 0;
  let held = 0;
  for (const { offset, length } of segments) {
    if (offset < end || offset + length > sizeBytes)
      throw badArchive("sparse map has overlapping or outlying segments");
    end = offset + length;
    held += length;
  }
  if (held !== dataBytes) throw badArchive("sparse map does not match the size of the data");
  return { sizeBytes, segments: segments.filter(({ length }) => length > 0) };
}

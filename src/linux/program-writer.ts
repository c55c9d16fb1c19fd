// The primitive fields of the launch program's wire format (pause/program.h).
import { CricketError } from "../base/errors.ts";

const noDescriptor = 0xffffffff;
const maxDescriptors = 256;
export const madeFirst = 0x10000;
export const maxMade = 256;
/** Of a UTF-16 code unit as UTF-8. */
const maxBytesOfUnit = 3;
const u32Limit = 0x1_0000_0000;
const u64Limit = 1n << 64n;

/** Grows as it is written; every number, length and string is checked here, and once more by the C side. */
export class ProgramWriter {
  #bytes = Buffer.allocUnsafe(4096);
  #length = 0;
  readonly #table: number[];
  readonly #indexes = new Map<number, number>();

  /** `table` is shared between the writers of one program and collects its descriptors. */
  constructor(table: number[]) {
    this.#table = table;
    table.forEach((fd, index) => this.#indexes.set(fd, index));
  }

  get length(): number {
    return this.#length;
  }

  bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  u16(value: number): void {
    checkInteger(value, 0x10000);
    this.#length = this.#reserve(2).writeUInt16LE(value, this.#length);
  }

  /** Negative numbers down to -2^31 are written in two's complement. */
  u32(value: number): void {
    const unsigned = value < 0 && value >= -0x8000_0000 ? value + u32Limit : value;
    checkInteger(unsigned, u32Limit);
    this.#length = this.#reserve(4).writeUInt32LE(unsigned, this.#length);
  }

  u64(value: bigint): void {
    if (value < 0n || value >= u64Limit)
      throw new CricketError("invalid-argument", `number ${value} is not in 64 bits`);
    this.#length = this.#reserve(8).writeBigUInt64LE(value, this.#length);
  }

  bool(value: boolean): void {
    this.u32(value ? 1 : 0);
  }

  blob(value: Uint8Array): void {
    this.u32(value.length);
    this.#reserve(value.length).set(value, this.#length);
    this.#length += value.length;
  }

  /** A NUL inside would end the string early for the C side: refused. */
  text(value: string | Uint8Array): void {
    if (typeof value === "string" ? value.includes("\0") : value.includes(0)) {
      const shown = Buffer.from(value.slice(0, 80)).toString();
      throw new CricketError("invalid-argument", `${JSON.stringify(shown)} contains a NUL`);
    }
    if (typeof value === "string") this.#string(value);
    else this.blob(value);
    this.#reserve(1)[this.#length++] = 0;
  }

  // Straight into place: most of a program is text.
  #string(value: string): void {
    const bytes = this.#reserve(4 + maxBytesOfUnit * value.length);
    const length = bytes.write(value, this.#length + 4);
    bytes.writeUInt32LE(length, this.#length);
    this.#length += 4 + length;
  }

  /** An index into the table; undefined is "none". */
  descriptor(fd: number | undefined): void {
    if (fd === undefined) {
      this.u32(noDescriptor);
      return;
    }
    if (!Number.isInteger(fd) || fd < 0)
      throw new CricketError("invalid-argument", `descriptor ${fd} is not open`);
    this.u32(this.#indexOf(fd));
  }

  /** What an earlier step of the program makes, by its number. */
  made(number: number): void {
    checkInteger(number, maxMade);
    this.u32(madeFirst + number);
  }

  /** Overwrites a number that was written before. */
  patchU32(at: number, value: number): void {
    checkInteger(value, u32Limit);
    this.#bytes.writeUInt32LE(value, at);
  }

  append(bytes: Buffer): void {
    this.#reserve(bytes.length).set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #indexOf(fd: number): number {
    const known = this.#indexes.get(fd);
    if (known !== undefined) return known;
    if (this.#table.length >= maxDescriptors)
      throw new CricketError(
        "invalid-argument",
        `launch program with more than ${maxDescriptors} descriptors`,
      );
    const index = this.#table.push(fd) - 1;
    this.#indexes.set(fd, index);
    return index;
  }

  #reserve(size: number): Buffer {
    const needed = this.#length + size;
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, 2 * this.#bytes.length));
      grown.set(this.bytes());
      this.#bytes = grown;
    }
    return this.#bytes;
  }
}

function checkInteger(value: number, limit: number): void {
  if (!Number.isInteger(value) || value < 0 || value >= limit)
    throw new CricketError("invalid-argument", `number ${value} is not in 0..${limit - 1}`);
}

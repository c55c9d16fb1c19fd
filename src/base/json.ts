// JSON for records: exact for the two things plain JSON loses, 64-bit integers and bytes.

/** `{"$int64":"9223372036854775807"}` for a bigint, `{"$bytes":"<base64>"}` for a Uint8Array; all else as JSON has it. */
export function stringifyExact(value: unknown, indent?: number): string {
  return JSON.stringify(value, encode, indent);
}

/** The inverse of stringifyExact. Throws SyntaxError as JSON.parse does. */
export function parseExact(text: string): unknown {
  return JSON.parse(text, decode);
}

// An object of somebody else (labels, annotations) may look like one of these two: it gets one more "$".
const escaped = /^\$+(?:int64|bytes)$/;

// Buffer has a toJSON, which JSON.stringify calls before the replacer: look at the holder's own value.
function encode(this: unknown, key: string, value: unknown): unknown {
  const original = (this as Record<string, unknown>)[key];
  if (typeof original === "bigint") return { $int64: original.toString() };
  if (original instanceof Uint8Array) return { $bytes: Buffer.from(original).toString("base64") };
  const only = onlyKeyOf(value);
  return only !== undefined && escaped.test(only)
    ? { [`$${only}`]: (value as Record<string, unknown>)[only] }
    : value;
}

function decode(_key: string, value: unknown): unknown {
  const only = onlyKeyOf(value);
  if (only === undefined || !escaped.test(only)) return value;
  const content = (value as Record<string, unknown>)[only];
  if (only === "$int64" && typeof content === "string") return BigInt(content);
  if (only === "$bytes" && typeof content === "string") return Buffer.from(content, "base64");
  return { [only.slice(1)]: content };
}

function onlyKeyOf(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const keys = Object.keys(value);
  return keys.length === 1 ? keys[0] : undefined;
}

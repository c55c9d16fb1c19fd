// Type signatures of D-Bus and the values they stand for (D-Bus specification, "Type system").
import { CricketError } from "../../base/errors.ts";

/**
 * y n q i u h and d are numbers, x and t bigints, b booleans, s o and g texts, ay bytes, v a DBusVariant; arrays,
 * structs and dictionary entries are arrays.
 */
export type DBusValue = number | bigint | boolean | string | Uint8Array | DBusVariant | readonly DBusValue[];

export interface DBusVariant {
  signature: string;
  value: DBusValue;
}

export type DBusType =
  | { code: BasicCode }
  | { code: "v" }
  | { code: "a"; element: DBusType }
  /** Also a dictionary entry: the two differ on paper alone. */
  | { code: "("; members: readonly DBusType[] };

export type BasicCode = "y" | "b" | "n" | "q" | "i" | "u" | "x" | "t" | "d" | "s" | "o" | "g" | "h";

const basicCodes = "ybnqiuxtdsogh";
const maxSignatureLength = 255;
/** The specification's: 32 arrays and 32 structs; here together. */
const maxDepth = 64;

export function protocolError(what: string): CricketError {
  return new CricketError("internal", `d-bus: ${what}`);
}

/** The complete types of a signature, in order. Throws CricketError for what is none. */
export function parseSignature(text: string): DBusType[] {
  if (text.length > maxSignatureLength) throw protocolError(`a signature of ${text.length} characters`);
  const types: DBusType[] = [];
  let at = 0;
  while (at < text.length) {
    const [type, next] = parseType(text, at, 0);
    types.push(type);
    at = next;
  }
  return types;
}

/** One complete type, as a variant has it. */
export function parseSingleType(text: string): DBusType {
  const [type, ...more] = parseSignature(text);
  if (type === undefined || more.length > 0)
    throw protocolError(`${JSON.stringify(text)} is not the signature of one value`);
  return type;
}

function parseType(text: string, at: number, depth: number): [type: DBusType, next: number] {
  if (depth > maxDepth) throw protocolError(`signature ${text} is nested too deeply`);
  const code = text[at] ?? "";
  if (code === "v") return [{ code }, at + 1];
  if (code !== "" && basicCodes.includes(code)) return [{ code: code as BasicCode }, at + 1];
  if (code === "a") {
    const [element, next] = parseType(text, at + 1, depth + 1);
    return [{ code, element }, next];
  }
  if (code === "(") return parseMembers(text, at + 1, { end: ")", depth });
  if (code === "{" && text[at - 1] === "a") return parseMembers(text, at + 1, { end: "}", depth });
  throw protocolError(`signature ${JSON.stringify(text)} has no type at ${at}`);
}

function parseMembers(
  text: string,
  start: number,
  { end, depth }: { end: ")" | "}"; depth: number },
): [type: DBusType, next: number] {
  const members: DBusType[] = [];
  let at = start;
  while (text[at] !== end) {
    const [member, next] = parseType(text, at, depth + 1);
    members.push(member);
    at = next;
  }
  const isEntry = members.length === 2 && members[0]?.code !== "v" && members[0]?.code !== "a";
  if (members.length === 0 || (end === "}" && !isEntry))
    throw protocolError(`signature ${JSON.stringify(text)} has no type at ${start}`);
  return [{ code: "(", members }, at + 1];
}

/** What a value of the type is aligned to, in bytes. */
export function alignmentOf({ code }: DBusType): 1 | 2 | 4 | 8 {
  switch (code) {
    case "y":
    case "g":
    case "v":
      return 1;
    case "n":
    case "q":
      return 2;
    case "x":
    case "t":
    case "d":
    case "(":
      return 8;
    case "b":
    case "i":
    case "u":
    case "h":
    case "s":
    case "o":
    case "a":
      return 4;
  }
}

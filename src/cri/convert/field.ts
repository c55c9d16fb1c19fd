// Checks of single wire fields. Each throws invalid-argument with the field's name as the proto has it, such as
// `config.linux.security_context.run_as_user.value is 2147483648: not in 0..2147483647`.
import { invalidArgument } from "../../base/errors.ts";

/** `at`: path of the field from the request on, "config.metadata.name". */
export function required<T>(value: T | null | undefined, at: string): T {
  if (value === null || value === undefined) throw invalidArgument(`${at} is missing`);
  return value;
}

/** A text that may be empty. A NUL would end it early wherever it is handed to the kernel, so there is none. */
export function text(value: string, at: string): string {
  if (value.includes("\0")) throw invalidArgument(`${at} contains a NUL byte`);
  return value;
}

/** A non-empty text. */
export function nonEmpty(value: string, at: string): string {
  if (value === "") throw invalidArgument(`${at} is empty`);
  return text(value, at);
}

/** A text which ends up as a part of a line in a file or a log: no control characters. May be empty. */
export function singleLine(value: string, at: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(value)) throw invalidArgument(`${at} contains a control character`);
  return value;
}

/** A word in a file whose fields are separated by blanks, such as resolv.conf. */
export function word(value: string, at: string): string {
  if (value === "" || /\s/.test(value))
    throw invalidArgument(`${at} is ${JSON.stringify(value)}: empty or with a blank`);
  return singleLine(value, at);
}

// PATH_MAX with its final NUL: the kernel refuses longer ones, but only after other things have been made.
const maxPathBytes = 4095;

/** An absolute path. `..` is allowed: whoever opens the path decides what it is relative to. */
export function absolutePath(value: string, at: string): string {
  nonEmpty(value, at);
  if (!value.startsWith("/"))
    throw invalidArgument(`${at} is ${JSON.stringify(value)}: not an absolute path`);
  if (Buffer.byteLength(value) > maxPathBytes)
    throw invalidArgument(`${at} is longer than ${maxPathBytes} bytes`);
  return value;
}

/** An absolute path, or "" for "not given". */
export function optionalAbsolutePath(value: string, at: string): string {
  return value === "" ? "" : absolutePath(value, at);
}

/** True when a component of the path is `..`: joined to a directory it would lead out of it (CVE-2025-0750). */
export function leadsUp(path: string): boolean {
  return path.split("/").includes("..");
}

/** A path relative to a directory and inside it, or "" for "not given". */
export function optionalInnerPath(value: string, at: string): string {
  text(value, at);
  if (value.startsWith("/")) throw invalidArgument(`${at} is ${JSON.stringify(value)}: not a relative path`);
  if (leadsUp(value)) throw invalidArgument(`${at} is ${JSON.stringify(value)}: contains ".."`);
  if (Buffer.byteLength(value) > maxPathBytes)
    throw invalidArgument(`${at} is longer than ${maxPathBytes} bytes`);
  return value;
}

export interface IntegerRange {
  min: bigint;
  max: bigint;
}

/** An integer of at most 53 bits. */
export function integerWithin(value: number | bigint, range: IntegerRange, at: string): number {
  return Number(bigintWithin(BigInt(value), range, at));
}

export function bigintWithin(value: bigint, range: IntegerRange, at: string): bigint {
  if (value < range.min || value > range.max)
    throw invalidArgument(`${at} is ${value}: not in ${range.min}..${range.max}`);
  return value;
}

/** The names of a generated enum by number. */
export type EnumNames = Readonly<Record<number, string | undefined>>;

/** Translates an enum value by its name on the wire; a value that `choices` does not have is an error. */
export function enumChoice<T>(
  value: number,
  names: EnumNames,
  choices: Readonly<Record<string, T>>,
  at: string,
): T {
  const name = names[value];
  if (name === undefined) throw invalidArgument(`${at} is ${value}: not a known value`);
  if (!Object.hasOwn(choices, name))
    throw invalidArgument(`${at} is ${name}: not possible here, only ${Object.keys(choices).join(", ")}`);
  return choices[name] as T;
}

/** Converts each element of a list; errors name the element: `config.mounts[2].host_path`. */
export function each<T, R>(list: readonly T[], at: string, convert: (value: T, at: string) => R): R[] {
  return list.map((value, index) => convert(value, `${at}[${index}]`));
}

// JSON from plugins and configuration files: looked at field by field, everything else passed through as it is.
import { invalidArgument } from "../../base/errors.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @throws invalid-argument naming `what`, with the start of the text, which may be anything a program prints */
export function parseJsonObject(text: string, what: string): JsonObject {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw invalidArgument(`${what} is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (!isJsonObject(parsed)) throw invalidArgument(`${what} is not a JSON object`);
  return parsed;
}

/** `fallback` where the field is absent or null. @throws invalid-argument */
export function stringField(object: JsonObject, name: string, fallback = ""): string {
  const value = object[name] ?? fallback;
  if (typeof value !== "string") throw invalidArgument(`${name} is not a string`);
  return value;
}

/** Empty where the field is absent or null. @throws invalid-argument */
export function objectsField(object: JsonObject, name: string): JsonObject[] {
  const value = object[name] ?? [];
  if (!Array.isArray(value)) throw invalidArgument(`${name} is not a list`);
  return value.map((entry: unknown, index) => {
    if (!isJsonObject(entry)) throw invalidArgument(`${name}[${index}] is not an object`);
    return entry;
  });
}

/** Empty where the field is absent or null. @throws invalid-argument */
export function stringsField(object: JsonObject, name: string): string[] {
  const value = object[name] ?? [];
  if (!Array.isArray(value) || !value.every((entry) => typeof entry === "string"))
    throw invalidArgument(`${name} is not a list of strings`);
  return value;
}

/** Also "true" and "false" in any case: configurations in use have them. @throws invalid-argument */
export function booleanField(object: JsonObject, name: string): boolean {
  const value = object[name] ?? false;
  if (typeof value === "boolean") return value;
  const text = typeof value === "string" ? value.toLowerCase() : "";
  if (text !== "true" && text !== "false") throw invalidArgument(`${name} is not true or false`);
  return text === "true";
}

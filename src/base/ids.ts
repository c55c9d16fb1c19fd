// Object ids: 64 hexadecimal characters, as every engine of the field uses; cAdvisor and crictl match on that form.
import { randomBytes } from "node:crypto";

const idPattern = /^[0-9a-f]{64}$/;

export function newId(): string {
  return randomBytes(32).toString("hex");
}

export function isId(text: string): boolean {
  return idPattern.test(text);
}

/** The form shown to people: the first 12 characters. */
export function shortId(id: string): string {
  return id.slice(0, 12);
}

// Lookup by full id or by a prefix of it, as crictl and people type them.
import { CricketError } from "./errors.ts";

/**
 * The entry whose key is `text` or begins with it. Undefined when there is none; an ambiguous prefix is an error,
 * because acting on a guess could remove the wrong object.
 */
export function findByPrefix<T>(entries: ReadonlyMap<string, T>, text: string, kind: string): T | undefined {
  const exact = entries.get(text);
  if (exact !== undefined) return exact;
  if (!/^[0-9a-f]{1,64}$/.test(text)) return undefined;
  let found: T | undefined;
  for (const [id, entry] of entries) {
    if (!id.startsWith(text)) continue;
    if (found !== undefined) throw new CricketError("invalid-argument", `${kind} id ${text} is ambiguous`);
    found = entry;
  }
  return found;
}

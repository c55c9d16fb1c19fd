// Images that the kubelet's garbage collection must leave alone.
import { formatReference, tryParseReference } from "./reference.ts";

/**
 * Matches full names (`docker.io/library/busybox:1`). A pattern is a reference, or text with a `*` in front, behind, or
 * both, which stands for anything: exact, glob and keyword of CRI-O.
 */
export class PinnedImages {
  readonly #matchers: readonly ((name: string) => boolean)[];

  constructor(patterns: readonly string[]) {
    this.#matchers = patterns.map(matcherOf);
  }

  /** True when one of an image's tags or repo digests is pinned. */
  matches(names: readonly string[]): boolean {
    return names.some((name) => this.#matchers.some((isPinned) => isPinned(name)));
  }
}

function matcherOf(pattern: string): (name: string) => boolean {
  const [before, after] = [pattern.startsWith("*"), pattern.endsWith("*")];
  const text = pattern.slice(before ? 1 : 0, after ? -1 : undefined);
  if (before && after) return (name) => name.includes(text);
  if (before) return (name) => name.endsWith(text);
  if (after) return (name) => name.startsWith(text);
  const full = fullName(pattern);
  return (name) => name === full;
}

function fullName(pattern: string): string {
  const reference = tryParseReference(pattern);
  return reference === undefined ? pattern : formatReference(reference);
}

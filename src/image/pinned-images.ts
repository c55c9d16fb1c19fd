// Images that the kubelet's garbage collection must leave alone.
import { formatReference, tryParseReference } from "./reference.ts";

/** Matches full names (`docker.io/library/busybox:1`); a pattern is a reference, or text with a trailing `*`. */
export class PinnedImages {
  readonly #names: ReadonlySet<string>;
  readonly #prefixes: readonly string[];

  constructor(patterns: readonly string[]) {
    this.#prefixes = patterns
      .filter((pattern) => pattern.endsWith("*"))
      .map((pattern) => pattern.slice(0, -1));
    const exact = patterns.filter((pattern) => !pattern.endsWith("*"));
    this.#names = new Set(exact.map(fullName));
  }

  /** True when one of an image's tags or repo digests is pinned. */
  matches(names: readonly string[]): boolean {
    return names.some(
      (name) => this.#names.has(name) || this.#prefixes.some((prefix) => name.startsWith(prefix)),
    );
  }
}

function fullName(pattern: string): string {
  const reference = tryParseReference(pattern);
  return reference === undefined ? pattern : formatReference(reference);
}

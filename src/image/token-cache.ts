// Bearer tokens of registries: short-lived, in memory only.

interface Entry {
  token: string;
  expiresAtMs: number;
}

/** A registry hands out one token per scope; a daemon that pulls from many must not keep them all for ever. */
const entryLimit = 256;

export class TokenCache {
  readonly #entries = new Map<string, Entry>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number = Date.now) {
    this.#nowMs = nowMs;
  }

  get(key: string): string | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (entry.expiresAtMs > this.#nowMs()) return entry.token;
    this.#entries.delete(key);
    return undefined;
  }

  /** `lifetimeMs` is what the realm promised; a tenth is kept back, so that no request starts with a dying token. */
  set(key: string, token: string, lifetimeMs: number): void {
    this.#entries.delete(key);
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size < entryLimit) break;
      this.#entries.delete(oldest);
    }
    this.#entries.set(key, { token, expiresAtMs: this.#nowMs() + lifetimeMs * 0.9 });
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }
}

// The single-use tokens in the addresses that Exec, Attach and PortForward answer with. The token is all that
// protects a session on the loopback interface, so it cannot be guessed, dies with its first use, and soon anyway.
import { randomBytes } from "node:crypto";
import { CricketError } from "../base/errors.ts";

/** The kubelet connects at once; a minute is what the field allows. */
const lifetimeMs = 60_000;
/** Unused requests kept; a caller that never connects must not grow the daemon. */
const maxPending = 1000;

interface Pending<T> {
  request: T;
  expiresAtMs: number;
}

export class RequestTokens<T> {
  // In the order of insertion, which with one lifetime for all is the order in which they expire.
  readonly #pending = new Map<string, Pending<T>>();
  readonly #nowMs: () => number;

  /** `nowMs`: a clock that never goes back. */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** @throws CricketError resource-exhausted when too many requests wait for their client */
  issue(request: T): string {
    this.#dropExpired();
    if (this.#pending.size >= maxPending)
      throw new CricketError(
        "resource-exhausted",
        `streaming: ${maxPending} requests wait for a client already`,
      );
    const token = randomBytes(18).toString("base64url");
    this.#pending.set(token, { request, expiresAtMs: this.#nowMs() + lifetimeMs });
    return token;
  }

  /** The request, once; undefined for a token that was never given, is used up or too old. */
  take(token: string): T | undefined {
    this.#dropExpired();
    const pending = this.#pending.get(token);
    this.#pending.delete(token);
    return pending?.request;
  }

  #dropExpired(): void {
    for (const [token, { expiresAtMs }] of this.#pending) {
      if (expiresAtMs > this.#nowMs()) return;
      this.#pending.delete(token);
    }
  }
}

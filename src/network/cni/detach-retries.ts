// Attachments that could not be removed, or whose sandbox is gone: tried again in the background until it works.
import { messageOf } from "../../base/errors.ts";
import { shortId } from "../../base/ids.ts";
import type { Log } from "../../base/log.ts";

const firstDelayMs = 10_000;
const longestDelayMs = 300_000;

export class DetachRetries {
  readonly #detach: (sandboxId: string) => Promise<void>;
  readonly #log: Log;
  readonly #waiting = new Map<string, NodeJS.Timeout>();
  readonly #running = new Set<Promise<void>>();
  #closed = false;

  constructor(detach: (sandboxId: string) => Promise<void>, log: Log) {
    this.#detach = detach;
    this.#log = log;
  }

  add(sandboxId: string, delayMs = firstDelayMs): void {
    this.forget(sandboxId);
    if (this.#closed) return;
    if (delayMs === 0) {
      this.#run(sandboxId, firstDelayMs);
      return;
    }
    const timer = setTimeout(() => this.#run(sandboxId, Math.min(delayMs * 2, longestDelayMs)), delayMs);
    this.#waiting.set(sandboxId, timer.unref());
  }

  /** True while the next attempt is waited for. */
  isWaiting(sandboxId: string): boolean {
    return this.#waiting.has(sandboxId);
  }

  /** Idempotent. */
  forget(sandboxId: string): void {
    clearTimeout(this.#waiting.get(sandboxId));
    this.#waiting.delete(sandboxId);
  }

  close(): void {
    this.#closed = true;
    for (const sandboxId of this.#waiting.keys()) this.forget(sandboxId);
  }

  /** Resolves when the attempts under way have ended. */
  async settle(): Promise<void> {
    await Promise.all(this.#running);
  }

  #run(sandboxId: string, nextDelayMs: number): void {
    this.#waiting.delete(sandboxId);
    const attempt = this.#detach(sandboxId)
      .then(
        () => this.#log.info("network of a gone sandbox released", { sandbox: shortId(sandboxId) }),
        (error: unknown) => {
          this.#log.warn("network of a gone sandbox not released", {
            sandbox: shortId(sandboxId),
            error: messageOf(error),
          });
          this.add(sandboxId, nextDelayMs);
        },
      )
      .finally(() => this.#running.delete(attempt));
    this.#running.add(attempt);
  }
}

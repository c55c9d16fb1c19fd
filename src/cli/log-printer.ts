// Puts log records where the container wrote them: standard output or standard error.
import type { Surroundings } from "./command.ts";
import { recordTimeNs, type LogRecord } from "./log-record.ts";

export interface PrintOptions {
  timestamps: boolean;
  /** Records before it are left out; 0: none. */
  sinceNs: bigint;
}

export class LogPrinter {
  readonly #options: PrintOptions;
  readonly #out: Pick<Surroundings, "stdout" | "stderr">;
  /** Streams in the middle of a line: its time stands at its beginning only. */
  readonly #open = new Set<LogRecord["stream"]>();

  constructor(options: PrintOptions, out: Pick<Surroundings, "stdout" | "stderr">) {
    this.#options = options;
    this.#out = out;
  }

  print(record: LogRecord): void {
    const { timestamps, sinceNs } = this.#options;
    if (sinceNs > 0n && recordTimeNs(record) < sinceNs) return;
    const { stream, partial, content, time } = record;
    const begins = timestamps && !this.#open.has(stream);
    if (partial) this.#open.add(stream);
    else this.#open.delete(stream);
    const parts = [Buffer.from(begins ? `${time} ` : ""), content, Buffer.from(partial ? "" : "\n")];
    this.#out[stream](Buffer.concat(parts));
  }
}

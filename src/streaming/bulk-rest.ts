// Sessions that move much leave buffers behind which no collection comes round to once the daemon rests.

/** What has to have moved before it is worth a pause of the event loop. */
const bulkBytes = 16 * 1024 * 1024;
/** A client that copies files opens session after session. */
const restAfterMs = 3_000;

export class BulkRest {
  readonly #release: () => void;
  #openCount = 0;
  #movedBytes = 0;
  #timer: NodeJS.Timeout | undefined;

  /** `release` is called some seconds after the last session when they have moved much. */
  constructor(release: () => void) {
    this.#release = release;
  }

  begin(): void {
    this.#openCount++;
    clearTimeout(this.#timer);
  }

  /** `movedBytes`: in both directions. */
  end(movedBytes: number): void {
    this.#openCount--;
    this.#movedBytes += movedBytes;
    if (this.#openCount > 0 || this.#movedBytes < bulkBytes) return;
    this.#timer = setTimeout(() => {
      this.#movedBytes = 0;
      this.#release();
    }, restAfterMs).unref();
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}

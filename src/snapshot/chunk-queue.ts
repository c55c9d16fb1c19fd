// A hand-over of byte chunks from callbacks to one asynchronous reader.

/** Ends with `end`, fails with `fail`; a chunk counts as used when the reader asks for the next one. */
export class ChunkQueue implements AsyncIterable<Uint8Array> {
  readonly #chunks: Uint8Array[] = [];
  readonly #onUsed: (chunk: Uint8Array) => void;
  #outcome: { error?: unknown } | undefined;
  #wake: () => void = () => {};

  /** `onUsed` is called with each chunk that the reader is done with. */
  constructor(onUsed: (chunk: Uint8Array) => void = () => {}) {
    this.#onUsed = onUsed;
  }

  get length(): number {
    return this.#chunks.length;
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#wake();
  }

  end(): void {
    this.#outcome ??= {};
    this.#wake();
  }

  /** The reader gets the error at once; chunks it has not read yet are dropped. */
  fail(error: unknown): void {
    this.#outcome ??= { error };
    this.#chunks.length = 0;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        yield chunk;
        this.#onUsed(chunk);
      } else if (this.#outcome === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      } else if ("error" in this.#outcome) throw this.#outcome.error;
      else return;
    }
  }
}

// A progress bar for a terminal; to anything else nothing is drawn.

const barWidth = 30;

export interface Progress {
  doneBytes: number;
  totalBytes: number;
}

/** Redraws one line in place; `clear` removes it again. */
export class ProgressBar {
  readonly #stream: NodeJS.WriteStream;
  #isDrawn = false;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  draw(progress: Progress): void {
    if (!this.#stream.isTTY) return;
    this.#stream.write(`\r${formatProgress(progress)}`);
    this.#isDrawn = true;
  }

  clear(): void {
    // CSI K: erase to the end of the line.
    if (this.#isDrawn) this.#stream.write("\r\x1b[K");
    this.#isDrawn = false;
  }
}

/** "[#####.....] 12.5 of 25.2 MB" */
export function formatProgress({ doneBytes, totalBytes }: Progress): string {
  const share = totalBytes === 0 ? 0 : Math.min(1, doneBytes / totalBytes);
  const filled = Math.round(share * barWidth);
  const bar = "#".repeat(filled) + ".".repeat(barWidth - filled);
  return `[${bar}] ${megabytes(doneBytes)} of ${megabytes(totalBytes)} MB`;
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);

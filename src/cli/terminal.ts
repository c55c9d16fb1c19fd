// The terminal of the user, lent to a program elsewhere: every key goes there, also Ctrl-C.
import type { TerminalSize } from "../container/session-streams.ts";
import { passOutputThrough } from "../linux/terminal.ts";
import type { StandardStreams } from "./command.ts";

export class UserTerminal {
  readonly #streams: StandardStreams;
  readonly #isRaw: boolean;
  readonly #restore = (): void => this.#setRaw(false);
  #onResize: (() => void) | undefined;

  /** Raw only where `isWanted` and standard input is a terminal. */
  constructor(streams: StandardStreams, isWanted: boolean) {
    this.#streams = streams;
    this.#isRaw = isWanted && streams.stdin.isTTY === true;
    if (!this.#isRaw) return;
    this.#setRaw(true);
    if (streams.stdin.fd !== undefined) passOutputThrough(streams.stdin.fd);
    // A shell whose terminal stays raw is of no use.
    process.once("exit", this.#restore);
  }

  get isRaw(): boolean {
    return this.#isRaw;
  }

  /** `take` gets the size at once, and each time the window changes (SIGWINCH). */
  onResize(take: (size: TerminalSize) => void): void {
    const { stdout } = this.#streams;
    const tell = (): void => {
      const { rows = 0, columns = 0 } = stdout;
      if (stdout.isTTY === true && rows > 0 && columns > 0) take({ rows, columns });
    };
    this.#onResize = tell;
    stdout.on("resize", tell);
    tell();
  }

  /** As it was before. */
  release(): void {
    if (this.#onResize !== undefined) this.#streams.stdout.off("resize", this.#onResize);
    this.#streams.stdin.pause();
    if (!this.#isRaw) return;
    process.off("exit", this.#restore);
    this.#restore();
  }

  #setRaw(isRaw: boolean): void {
    this.#streams.stdin.setRawMode?.(isRaw);
  }
}

// The terminal of a container in the foreground: the caller's own, passed through byte by byte.
import { ReadStream, WriteStream } from "node:tty";
import { passOutputThrough, setTerminalSize } from "../../linux/terminal.ts";

export interface TerminalRelay {
  /** Resolves when all output is written; the caller's terminal is as it was before. */
  end(): Promise<void>;
}

/** Takes over the master. */
export function relayTerminal(master: number): TerminalRelay {
  const output = new ReadStream(master);
  const input = new WriteStream(master);
  input.on("error", () => {});
  const ended = new Promise<void>((resolve) => {
    // EIO: the last process has closed the slave.
    output.on("error", () => resolve());
    output.on("end", resolve);
    output.on("close", resolve);
  });
  output.pipe(process.stdout, { end: false });
  const resize = (): void => {
    if (process.stdout.isTTY) setTerminalSize(master, process.stdout.rows, process.stdout.columns);
  };
  resize();
  process.on("SIGWINCH", resize);
  const isRaw = process.stdin.isTTY;
  if (isRaw) {
    process.stdin.setRawMode(true);
    passOutputThrough(process.stdin.fd);
  }
  process.stdin.pipe(input, { end: false });
  process.stdin.on("error", () => {});
  return {
    async end() {
      process.stdin.unpipe(input).pause();
      process.off("SIGWINCH", resize);
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, drainMs))]);
      if (isRaw) process.stdin.setRawMode(false);
      output.destroy();
    },
  };
}

const drainMs = 500;

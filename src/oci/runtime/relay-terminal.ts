// The terminal of a container in the foreground: the caller's own, passed through byte by byte.
import { ReadStream, WriteStream } from "node:tty";
import { libc } from "../../linux/libc.ts";

const TIOCSWINSZ = 0x5414;
const cIoctl = libc.func("int ioctl(int fd, unsigned long request, void *argument)");

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
  output.on("data", (chunk: Buffer) => void process.stdout.write(chunk));
  const resize = (): void => setSize(master);
  resize();
  process.on("SIGWINCH", resize);
  const isRaw = process.stdin.isTTY;
  if (isRaw) process.stdin.setRawMode(true);
  process.stdin.on("data", (chunk: Buffer) => void input.write(chunk));
  process.stdin.on("error", () => {});
  return {
    async end() {
      process.stdin.pause();
      process.off("SIGWINCH", resize);
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, drainMs))]);
      if (isRaw) process.stdin.setRawMode(false);
      output.destroy();
    },
  };
}

const drainMs = 500;

function setSize(master: number): void {
  if (!process.stdout.isTTY) return;
  const size = Buffer.alloc(8);
  size.writeUInt16LE(process.stdout.rows, 0);
  size.writeUInt16LE(process.stdout.columns, 2);
  cIoctl(master, TIOCSWINSZ, size);
}

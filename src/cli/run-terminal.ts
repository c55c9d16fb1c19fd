// The command line as a shell starts it: on this process's streams and signals.
import { readFileSync } from "node:fs";
import { Interrupted, type InterruptSignal, type Surroundings } from "./command.ts";
import { runCli } from "./run-cli.ts";

/** The exit status; never rejects. */
export function runTerminal(argv: readonly string[]): Promise<number> {
  const isDaemon = argv[0] === "daemon";
  const interruption = new Interruption();
  if (isDaemon) {
    // It logs there, and goes on without. It has its own way to stop, too.
    process.stderr.on("error", () => {});
  } else {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => interruption.come(signal));
    // Not for one that was started with nohup(1).
    if (!isIgnored(SIGHUP)) process.on("SIGHUP", () => interruption.come("SIGHUP"));
    // `cricket logs -f | head`: the reader has seen enough. What was made is removed as after Ctrl-C.
    process.stdout.on("error", () => interruption.end("SIGPIPE"));
    process.stderr.on("error", () => interruption.end("SIGPIPE"));
  }
  return runCli(argv, surroundings(interruption));
}

const SIGHUP = 1;

function isIgnored(signal: number): boolean {
  const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "latin1"))?.[1] ?? "0";
  return ((BigInt(`0x${mask}`) >> BigInt(signal - 1)) & 1n) === 1n;
}

class Interruption {
  readonly #interrupted = new AbortController();
  readonly #killed = new AbortController();

  get interrupted(): AbortSignal {
    return this.#interrupted.signal;
  }

  get killed(): AbortSignal {
    return this.#killed.signal;
  }

  come(signal: InterruptSignal): void {
    (this.#interrupted.signal.aborted ? this.#killed : this.#interrupted).abort(new Interrupted(signal));
  }

  /** As often as it comes, it does not make things more urgent. */
  end(signal: InterruptSignal): void {
    this.#interrupted.abort(new Interrupted(signal));
  }
}

function surroundings({ interrupted, killed }: Interruption): Surroundings {
  return {
    stdout: (data) => void process.stdout.write(data),
    stderr: (data) => void process.stderr.write(data),
    // Opened by the first look at it, which only commands that read it take.
    get streams() {
      const { stdin, stdout, stderr } = process;
      return { stdin, stdout, stderr };
    },
    columns: process.stderr.isTTY ? process.stderr.columns : undefined,
    env: process.env,
    interrupted,
    killed,
  };
}

// The command line as a shell starts it: on this process's streams and signals.
import { Interrupted, type Surroundings } from "./command.ts";
import { runCli } from "./run-cli.ts";

/** The exit status; never rejects. */
export function runTerminal(argv: readonly string[]): Promise<number> {
  // `cricket ps | head`: the reader has seen enough.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    process.exit(error.code === "EPIPE" ? 0 : 1);
  });
  return runCli(argv, surroundings(argv[0] === "daemon"));
}

function surroundings(isDaemon: boolean): Surroundings {
  const interrupted = new AbortController();
  const killed = new AbortController();
  const onSignal = (signal: "SIGINT" | "SIGTERM"): void => {
    (interrupted.signal.aborted ? killed : interrupted).abort(new Interrupted(signal));
  };
  // The daemon has its own way to stop.
  if (!isDaemon) for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, onSignal);
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
    interrupted: interrupted.signal,
    killed: killed.signal,
  };
}

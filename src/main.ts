#!/usr/bin/env node
// The `cricket` program.
import { Interrupted, type Surroundings } from "./cli/command.ts";

const [name] = process.argv.slice(2);

function surroundings(): Surroundings {
  const interrupted = new AbortController();
  const killed = new AbortController();
  const onSignal = (signal: "SIGINT" | "SIGTERM"): void => {
    (interrupted.signal.aborted ? killed : interrupted).abort(new Interrupted(signal));
  };
  // The daemon has its own way to stop.
  if (name !== "daemon") for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, onSignal);
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

// `cricket ps | head`: the reader has seen enough.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  process.exit(error.code === "EPIPE" ? 0 : 1);
});

// The runtime's own command line: no daemon, its signals are the container's, and start-up counts.
if (name === "oci") {
  const { runOci } = await import("./cli/oci/run-oci.ts");
  process.exit(await runOci(process.argv.slice(3)));
}

const { runCli } = await import("./cli/run-cli.ts");

// Standard output is written synchronously on Linux, so nothing is lost by leaving at once.
process.exit(await runCli(process.argv.slice(2), surroundings()));

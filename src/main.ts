#!/usr/bin/env node
// The `cricket` program: loads the part that is asked for, and that one alone, as start-up counts for engines that run
// an OCI runtime several times a container.
import { basename } from "node:path";
import { stackOf } from "./base/stack-trace.ts";

async function main(): Promise<number> {
  const [program = "", ...argv] = process.argv.slice(1);
  // Engines take the path of a runtime and give it a verb: podman --runtime /usr/bin/cricket-oci.
  const isRuntime = basename(program) === "cricket-oci";
  if (isRuntime || argv[0] === "oci") {
    const { runOci } = await import("./cli/oci/run-oci.ts");
    return runOci(isRuntime ? argv : argv.slice(1));
  }
  const { runTerminal } = await import("./cli/run-terminal.ts");
  return runTerminal(argv);
}

// Node would print the trace as it is: with lines of what was built.
process.on("uncaughtException", (error) => {
  process.stderr.write(`${stackOf(error)}\n`);
  process.exit(1);
});

// Standard output is written synchronously on Linux, so nothing is lost by leaving at once.
void main().then((status) => process.exit(status));

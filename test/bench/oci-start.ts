// The command line of OCI runtimes: what one run of `true` takes from start to end, without a daemon, and what of that
// is Node's own start.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { stringifySpec } from "../../src/oci/parse-spec.ts";
import { defaultSpec } from "../../src/oci/runtime/default-spec.ts";
import { cricketProgram } from "../support/cricket-program.ts";
import type { Samples } from "./samples.ts";

interface Runtime {
  name: string;
  command: string[];
}

/** Adds the times of `rounds` runs with each runtime that is installed; returns why others are missing. */
export function measureOciRuns(samples: Samples, rounds: number): string[] {
  const bundle = fs.mkdtempSync(path.join(os.tmpdir(), "cricket-bundle-"));
  try {
    writeBundle(bundle);
    const run = ["run", "--bundle", bundle];
    const runtimes: Runtime[] = [
      { name: "cricket oci run true", command: [process.execPath, ...cricketProgram(), "oci", ...run] },
      { name: "  node -e 0", command: [process.execPath, "-e", "0"] },
      { name: "  runc run true", command: ["runc", ...run] },
      { name: "  crun run true", command: ["crun", ...run] },
    ];
    const refusals = new Map<string, string>();
    // In turns, so that what else the machine does meanwhile slows all of them down alike.
    const turn = (round: number, runtime: Runtime): void => {
      if (refusals.has(runtime.name)) return;
      const result = runOnce(runtime, round);
      if (typeof result === "string") refusals.set(runtime.name, result);
      else if (round >= 0) samples.add(runtime.name, result);
    };
    for (let round = -1; round < rounds; round++) for (const runtime of runtimes) turn(round, runtime);
    return [...refusals].map(([name, reason]) => `${name.trim()}: n/a, ${reason}`);
  } finally {
    fs.rmSync(bundle, { recursive: true });
  }
}

function writeBundle(bundle: string): void {
  const bin = path.join(bundle, "rootfs/bin");
  fs.mkdirSync(bin, { recursive: true });
  fs.copyFileSync("/bin/busybox", path.join(bin, "busybox"));
  fs.symlinkSync("busybox", path.join(bin, "true"));
  const spec = defaultSpec();
  if (spec.process !== undefined) spec.process = { ...spec.process, terminal: false, args: ["true"] };
  fs.writeFileSync(path.join(bundle, "config.json"), stringifySpec(spec));
}

/** The time in milliseconds, or why the runtime cannot run here. */
function runOnce({ name, command }: Runtime, round: number): number | string {
  const id = name.includes("run true") ? [`bench-${process.pid}-${round + 1}`] : [];
  const [program = "", ...args] = [...command, ...id];
  const startMs = performance.now();
  const { status, stderr, error } = spawnSync(program, args, { encoding: "utf8" });
  const timeMs = performance.now() - startMs;
  if (status === 0) return timeMs;
  const lines = (error?.message ?? stderr).trim().split("\n");
  if (name.startsWith("cricket")) throw new Error(`${name}: ${lines.join("; ")}`);
  return lines.at(-1) ?? "";
}

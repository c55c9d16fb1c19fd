import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { runProgram } from "../../../src/linux/run-program.ts";
import { readProcessStat } from "../../../src/linux/proc.ts";

const env = ["PATH=/usr/bin:/bin"];
const isRunning = (pid: number): boolean => {
  const stat = readProcessStat(pid);
  return stat !== undefined && stat.state !== "Z";
};

test("`runProgram()` gives back what the program writes, and does not mind one that leaves its input", async () => {
  const run = {
    path: "/bin/sh",
    args: ["-c", "exec <&-; echo out; exit 0"],
    env,
    input: "x".repeat(1 << 20),
  };
  assert.equal(await runProgram(run), "out\n");
});

test("`runProgram()` kills what a program has started together with it", async () => {
  const directory = mkdtempSync(join(tmpdir(), "cricket-run-"));
  try {
    const file = join(directory, "pid");
    const script = `sleep 1000 & echo $! >${file}; wait`;
    await assert.rejects(runProgram({ path: "/bin/sh", args: ["-c", script], env, timeoutMs: 1000 }), {
      code: "deadline-exceeded",
    });
    const pid = Number(readFileSync(file, "utf8"));
    while (isRunning(pid)) await new Promise((resolve) => setTimeout(resolve, 5));
  } finally {
    rmSync(directory, { recursive: true });
  }
});

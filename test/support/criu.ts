// A criu that works on this kernel: CRICKET_TEST_CRIU names the program, else it is looked for in $PATH. That it is
// installed says little: releases older than the kernel stop at what they do not know of it.
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

export function criuSkip(criu = process.env["CRICKET_TEST_CRIU"] ?? "criu"): { skip?: string } {
  const version = spawnSync(criu, ["--version"], { encoding: "utf8" });
  if (version.error !== undefined) return { skip: "needs the program criu" };
  const reason = process.getuid?.() === 0 ? failureOfDump(criu) : "needs root";
  return reason === undefined ? {} : { skip: `needs a criu that works here: ${reason}` };
}

/** Incremental dumps need a kernel that tells which pages were written to. */
export function hasMemoryTracking(criu = process.env["CRICKET_TEST_CRIU"] ?? "criu"): boolean {
  return spawnSync(criu, ["check", "--feature", "mem_dirty_track"]).status === 0;
}

/** What a dump of a plain process fails with. */
function failureOfDump(criu: string): string | undefined {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "cricket-criu-"));
  const child = spawn("sleep", ["100"], { detached: true, stdio: "ignore" });
  try {
    const args = ["dump", "-t", `${child.pid}`, "-D", directory, "--leave-running", "-v1"];
    const { status, stdout, stderr } = spawnSync(criu, args, { encoding: "utf8", timeout: 20_000 });
    if (status === 0) return undefined;
    return `${stdout}${stderr}`.split("\n").find((line) => line.includes("Error")) ?? `exit status ${status}`;
  } finally {
    child.kill("SIGKILL");
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

import { readFileSync } from "node:fs";

/** A file of /proc, or "" when the process has gone. */
export function tryRead(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

/** Neither gone nor a zombie. */
export function isAlive(pid: number): boolean {
  return /^State:\s+[^ZX]/m.test(tryRead(`/proc/${pid}/status`));
}

// The version of the running program.
import { readFileSync } from "node:fs";

/** From package.json, which lies above src/cli and, nearer, dist/lib; "unknown" when it is not there. */
export function packageVersion(): string {
  for (const up of ["../../package.json", "../../../package.json"]) {
    try {
      const parsed = JSON.parse(readFileSync(new URL(up, import.meta.url), "utf8")) as { version?: unknown };
      if (typeof parsed.version === "string") return parsed.version;
    } catch {
      continue;
    }
  }
  return "unknown";
}

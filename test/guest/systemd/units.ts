// What systemd itself says, by its own tool.
import { execFileSync } from "node:child_process";
import fs from "node:fs";

/** Test options: these tests need a systemd as PID 1. */
export const withSystemd =
  process.env["CRICKET_GUEST"] === "1" && fs.existsSync("/run/systemd/system")
    ? {}
    : { skip: "needs the guest with systemd" };

export function systemctl(...args: string[]): string {
  return execFileSync("systemctl", args, { encoding: "utf8" });
}

/** Properties of a unit. */
export function show(unit: string, ...properties: string[]): Record<string, string> {
  const text = systemctl("show", unit, ...properties.map((name) => `--property=${name}`));
  return Object.fromEntries(
    text
      .trim()
      .split("\n")
      .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
}

/** Names of the loaded units that match a pattern. */
export function unitsLike(pattern: string): string[] {
  return systemctl("list-units", "--all", "--plain", "--no-legend", pattern)
    .split("\n")
    .map((line) => line.trim().split(/\s+/)[0] ?? "")
    .filter((name) => name !== "");
}

export function cgroupFile(path: string, file: string): string {
  return fs.readFileSync(`/sys/fs/cgroup${path}/${file}`, "utf8").trim();
}

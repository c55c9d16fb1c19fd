// Runs the commands that the other scripts are made of: inherited output, one line a step with its time.
import { spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout's root directory. */
export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");

/** The path of a program that an npm package installs. */
export const bin = (name) => path.join(root, "node_modules", ".bin", name);

/** True when `name` is a program in PATH or one of the system's sbin directories, which a user's PATH may lack. */
export function hasCommand(name) {
  return spawnSync("sh", ["-c", `PATH="$PATH:/usr/sbin:/sbin" command -v "$1"`, "sh", name]).status === 0;
}

/**
 * Runs one command in the checkout's root with inherited output.
 * Returns its exit status; a program that cannot be started is 127, one killed by a signal 128.
 */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: "inherit", ...options });
  if (result.error !== undefined) {
    process.stderr.write(`${command}: ${result.error.message}\n`);
    return 127;
  }
  return result.status ?? 128;
}

/** `run` that ends this process with the command's status when it fails. */
export function runOrExit(command, args, options = {}) {
  const status = run(command, args, options);
  if (status === 0) return;
  process.stderr.write(`failed (exit status ${status}): ${[command, ...args].join(" ")}\n`);
  process.exit(status);
}

/** Milliseconds since `startMs` (of performance.now) as "0.4 s". */
export const seconds = (startMs) => `${((performance.now() - startMs) / 1000).toFixed(1)} s`;

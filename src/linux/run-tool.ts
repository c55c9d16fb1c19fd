// Runs a tool of the host (nft, iptables) with text on its standard input.
import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import { CricketError } from "../base/errors.ts";

const searchPath = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

export type ToolFinder = (name: string) => string | undefined;

/** The path of an executable in the usual places of the system; undefined where there is none. $PATH is not trusted. */
export function findTool(name: string): string | undefined {
  return searchPath.map((directory) => join(directory, name)).find(isExecutable);
}

export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

const timeoutMs = 10_000;
const maxErrorBytes = 4096;

/** Throws internal with what the tool said on standard error where it fails, deadline-exceeded after ten seconds. */
export async function runTool(path: string, args: readonly string[], input = ""): Promise<void> {
  const command = [path, ...args].join(" ");
  const child = spawn(path, args, { stdio: ["pipe", "ignore", "pipe"], env: { LC_ALL: "C" } });
  let complaint = "";
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    child.kill("SIGKILL");
  }, timeoutMs);
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    if (complaint.length < maxErrorBytes) complaint += text;
  });
  // A tool that fails early closes its input; its exit status says more than EPIPE.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  try {
    const status = await new Promise<number | null>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", resolve);
    });
    if (timedOut) throw new CricketError("deadline-exceeded", `${command}: no end after ${timeoutMs} ms`);
    if (status === 0) return;
    const reason = complaint.slice(0, maxErrorBytes).trim().replaceAll(/\s+/g, " ");
    throw new CricketError("internal", `${command}: ${reason === "" ? `exit status ${status}` : reason}`);
  } finally {
    clearTimeout(timer);
  }
}

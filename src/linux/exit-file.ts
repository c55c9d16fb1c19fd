// The exit file a monitor leaves in its container's directory: `exit`, one JSON line, written before its socket closes.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, wrapError } from "../base/errors.ts";

export interface ExitRecord {
  /** 128 + signal when a signal ended it; 128 when it could not be started; 255 when nobody saw its end. */
  exitCode: number;
  /** 0 when it exited by itself. */
  signal: number;
  finishedAtNs: bigint;
  /** How many processes of its cgroup the kernel killed for memory since it was started. */
  oomKills: bigint;
  /** Set when the monitor was killed: code and time are not known. */
  lost?: boolean;
}

/** Undefined while the container has not ended (or its monitor was killed). Throws CricketError "internal". */
export function readExitFile(containerDir: string): ExitRecord | undefined {
  try {
    return parseExitRecord(readFileSync(join(containerDir, "exit"), "utf8"));
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw wrapError(`read the exit file in ${containerDir}`, error);
  }
}

/** Throws SyntaxError. */
function parseExitRecord(text: string): ExitRecord {
  const fields = JSON.parse(text) as Partial<Record<string, unknown>>;
  const { exitCode, signal, finishedAtNs, oomKills } = fields;
  if (!isCount(exitCode) || !isCount(signal) || !isCount(oomKills) || typeof finishedAtNs !== "string")
    throw new SyntaxError("exit record with missing fields");
  return { exitCode, signal, finishedAtNs: BigInt(finishedAtNs), oomKills: BigInt(oomKills) };
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0;
}

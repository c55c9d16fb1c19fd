// Named places at which a test can make the daemon fail or die: the proof that a kill at any line is survived.
import { CricketError } from "./errors.ts";

/**
 * CRICKET_FAILPOINT="<name>:<action>[:<count>]", several separated by commas. Actions: `kill` (SIGKILL, as the OOM
 * killer would), `error` (an internal error). With a count only the first so many passes act.
 */
const actions = parse(process.env["CRICKET_FAILPOINT"] ?? "");

type Action = { action: "kill" | "error"; left: number };

function parse(text: string): Map<string, Action> {
  const parsed = new Map<string, Action>();
  for (const part of text.split(",").filter((item) => item !== "")) {
    const match = /^([a-z-]+\/[a-z-]+):(kill|error)(?::(\d+))?$/.exec(part);
    if (match?.[1] === undefined)
      throw new CricketError("invalid-argument", `CRICKET_FAILPOINT: ${part} is not NAME:kill|error[:COUNT]`);
    const action = match[2] === "kill" ? "kill" : "error";
    parsed.set(match[1], { action, left: match[3] === undefined ? Infinity : Number(match[3]) });
  }
  return parsed;
}

/** Marks a step as done. Costs one map lookup when no failpoint is set. */
export function failpoint(name: string): void {
  const found = actions.get(name);
  if (found === undefined || found.left <= 0) return;
  found.left--;
  if (found.action === "kill") process.kill(process.pid, "SIGKILL");
  throw new CricketError("internal", `failpoint ${name}`);
}

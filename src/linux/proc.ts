// Facts about processes and the boot from /proc. A process is identified by pid and start time: a pid alone may
// belong to another process by the time it is used.
import { readFileSync, readdirSync } from "node:fs";
import { errnoOf, SyscallError, wrapError } from "../base/errors.ts";

export interface ProcessStat {
  pid: number;
  /** Field 2, without the parentheses; any bytes the process chose. */
  command: string;
  /** One letter: R, S, D, T, Z, X... */
  state: string;
  parentPid: number;
  processGroup: number;
  session: number;
  /** Field 22, clock ticks since boot. */
  startTimeTicks: bigint;
}

/** proc_pid_stat(5); undefined when the process is gone. */
export function readProcessStat(pid: number): ProcessStat | undefined {
  const text = readProcFile(`/proc/${pid}/stat`);
  return text === undefined ? undefined : parseProcessStat(text);
}

/** The command may hold blanks and parentheses, so the fields after it are counted from the last ")". */
export function parseProcessStat(text: string): ProcessStat | undefined {
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  if (open === -1 || close < open) return undefined;
  // Field 3 is the first here.
  const fields = text.slice(close + 2).split(" ");
  const [state = "", parentPid = "", processGroup = "", session = ""] = fields;
  const startTime = fields[22 - 3];
  if (startTime === undefined || !/^\d+$/.test(startTime)) return undefined;
  return {
    pid: Number.parseInt(text, 10),
    command: text.slice(open + 1, close),
    state,
    parentPid: Number(parentPid),
    processGroup: Number(processGroup),
    session: Number(session),
    startTimeTicks: BigInt(startTime),
  };
}

/** The start time of a process that exists. Throws SyscallError ESRCH when it is gone. */
export function processStartTime(pid: number): bigint {
  const stat = readProcessStat(pid);
  if (stat === undefined) throw new SyscallError("read", "ESRCH", `/proc/${pid}/stat`);
  return stat.startTimeTicks;
}

/** True while this very process runs: same start time, and neither a zombie nor dead. */
export function isAlive(pid: number, startTimeTicks: bigint): boolean {
  const stat = readProcessStat(pid);
  return stat?.startTimeTicks === startTimeTicks && stat.state !== "Z" && stat.state !== "X";
}

/** The children of all threads of a process; none when it is gone. */
export function childrenOf(pid: number): number[] {
  const children: number[] = [];
  for (const thread of listDirectory(`/proc/${pid}/task`)) {
    const text = readProcFile(`/proc/${pid}/task/${thread}/children`);
    for (const child of text?.split(" ") ?? []) if (child !== "") children.push(Number(child));
  }
  return children;
}

/**
 * All descendants, parents before their children. The list is a snapshot: processes that fork meanwhile may be
 * missing, and a child whose parent has died is found no more.
 */
export function descendantsOf(pid: number): number[] {
  const found = childrenOf(pid);
  const seen = new Set(found);
  for (let next = 0; next < found.length; next++) {
    for (const child of childrenOf(found[next] ?? 0)) {
      if (seen.has(child)) continue;
      seen.add(child);
      found.push(child);
    }
  }
  return found;
}

/** Differs after every boot: what was recorded under another id has lost its processes, mounts and namespaces. */
export function bootId(): string {
  return readRequired("/proc/sys/kernel/random/boot_id").trim();
}

/** This process's capability bounding set: the most a container can get. */
export function capabilityBoundingSet(): bigint {
  const match = /^CapBnd:\s*([0-9a-f]+)$/m.exec(readRequired("/proc/self/status"));
  return BigInt(`0x${match?.[1] ?? "0"}`);
}

/** A process's cgroup path on each hierarchy, by controller ("" is cgroup v2, "name=systemd" a named one). */
export function readProcessCgroups(pid: number | "self"): Map<string, string> {
  const cgroups = new Map<string, string>();
  for (const line of readRequired(`/proc/${pid}/cgroup`).split("\n")) {
    const match = /^\d+:([^:]*):(.*)$/.exec(line);
    for (const controller of match?.[1]?.split(",") ?? []) cgroups.set(controller, match?.[2] ?? "/");
  }
  return cgroups;
}

/** The content, or undefined where the process is gone. ESRCH comes when it dies between open and read. */
function readProcFile(file: string): string | undefined {
  try {
    return readFileSync(file, "latin1");
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT" || errno === "ESRCH") return undefined;
    throw wrapError(`read ${file}`, error);
  }
}

function readRequired(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw wrapError(`read ${file}`, error);
  }
}

function listDirectory(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT" || errno === "ESRCH") return [];
    throw wrapError(`read ${directory}`, error);
  }
}

// Memory of processes as the kernel shares it out: PSS counts a page that several processes map once in all.

import fs from "node:fs";

export interface Memory {
  pssBytes: number;
  rssBytes: number;
  /** Pages that no other process maps. */
  ussBytes: number;
}

/** From /proc/<pid>/smaps_rollup; undefined for a process that has ended or has no memory (zombies, kernel threads). */
export function memoryOf(pid: number): Memory | undefined {
  let text: string;
  try {
    text = fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  } catch {
    return undefined;
  }
  const bytes = (key: string): number =>
    Number(new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0) * 1024;
  const rssBytes = bytes("Rss");
  if (rssBytes === 0) return undefined;
  return { pssBytes: bytes("Pss"), rssBytes, ussBytes: bytes("Private_Clean") + bytes("Private_Dirty") };
}

interface Process {
  pid: number;
  parentPid: number;
  name: string;
}

/** Processes by pid and start time, so that a reused pid counts as new. */
export function processes(): Map<string, Process> {
  const found = new Map<string, Process>();
  for (const pid of fs.readdirSync("/proc").map(Number).filter(Number.isInteger)) {
    try {
      const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
      const end = stat.lastIndexOf(")");
      const fields = stat.slice(end + 2).split(" ");
      const name = stat.slice(stat.indexOf("(") + 1, end);
      found.set(`${pid}:${fields[19]}`, { pid, parentPid: Number(fields[1]), name });
    } catch {
      // It has ended since the directory was read.
    }
  }
  return found;
}

/**
 * Memory of the processes that a runtime has started since `before`, without those called `exceptName`: new ones
 * below the daemon or PID 1, so that what else starts on the machine meanwhile is not counted.
 */
export function newMemory(
  before: ReadonlyMap<string, unknown>,
  daemonPid: number,
  exceptName: string,
): Memory {
  const sum: Memory = { pssBytes: 0, rssBytes: 0, ussBytes: 0 };
  for (const { pid } of startedBy(daemonPid, before).filter(({ name }) => name !== exceptName)) {
    const memory = memoryOf(pid);
    if (memory === undefined) continue;
    sum.pssBytes += memory.pssBytes;
    sum.rssBytes += memory.rssBytes;
    sum.ussBytes += memory.ussBytes;
  }
  return sum;
}

function startedBy(daemonPid: number, before: ReadonlyMap<string, unknown>): Process[] {
  const fresh = new Map<number, Process>();
  for (const [key, process] of processes()) if (!before.has(key)) fresh.set(process.pid, process);
  const belongs = ({ parentPid }: Process): boolean => {
    if (parentPid === daemonPid || parentPid === 1) return true;
    const parent = fresh.get(parentPid);
    return parent !== undefined && belongs(parent);
  };
  return [...fresh.values()].filter(belongs);
}

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

/** Processes by pid and start time, so that a reused pid counts as new; the value is the program's name. */
export function processes(): Map<string, { pid: number; name: string }> {
  const found = new Map<string, { pid: number; name: string }>();
  for (const pid of fs.readdirSync("/proc").map(Number).filter(Number.isInteger)) {
    try {
      const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
      const end = stat.lastIndexOf(")");
      const startTime = stat.slice(end + 2).split(" ")[19];
      found.set(`${pid}:${startTime}`, { pid, name: stat.slice(stat.indexOf("(") + 1, end) });
    } catch {
      // It has ended since the directory was read.
    }
  }
  return found;
}

/** Memory of all processes that were not there `before`, by program name, without those called `exceptName`. */
export function newMemory(before: ReadonlyMap<string, unknown>, exceptName: string): Memory {
  const sum: Memory = { pssBytes: 0, rssBytes: 0, ussBytes: 0 };
  for (const [key, { pid, name }] of processes()) {
    const memory = before.has(key) || name === exceptName ? undefined : memoryOf(pid);
    if (memory === undefined) continue;
    sum.pssBytes += memory.pssBytes;
    sum.rssBytes += memory.rssBytes;
    sum.ussBytes += memory.ussBytes;
  }
  return sum;
}

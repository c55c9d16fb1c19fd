// What processes hold open, and what they may.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { readlink } from "node:fs/promises";

export interface OpenFiles {
  fileDescriptors: number;
  sockets: number;
}

/** Read at once: another thread takes longer to be woken than they take. A server can have a hundred thousand. */
const fewDescriptors = 256;

/** Counts the descriptors of processes; those that end meanwhile count as far as they were seen. */
export async function countOpenFiles(pids: readonly number[]): Promise<OpenFiles> {
  const open: OpenFiles = { fileDescriptors: 0, sockets: 0 };
  for (const pid of pids) {
    const directory = `/proc/${pid}/fd`;
    const names = orElse(() => readdirSync(directory), []);
    open.fileDescriptors += names.length;
    for (const name of names) {
      const target =
        names.length <= fewDescriptors
          ? orElse(() => readlinkSync(`${directory}/${name}`), "")
          : await readlink(`${directory}/${name}`).catch(() => "");
      if (target.startsWith("socket:")) open.sockets++;
    }
  }
  return open;
}

/** The soft limit on open files, proc_pid_limits(5); undefined when it is unlimited or the process is gone. */
export function openFilesLimit(pid: number): bigint | undefined {
  const limits = orElse(() => readFileSync(`/proc/${pid}/limits`, "utf8"), "");
  const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
  return soft === undefined ? undefined : BigInt(soft);
}

function orElse<T>(read: () => T, missing: T): T {
  try {
    return read();
  } catch {
    // ESRCH, ENOENT: the process or the descriptor is gone; EACCES: a process in the middle of execve.
    return missing;
  }
}

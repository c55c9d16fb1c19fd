// What processes hold open, and what they may.
import { readdir, readFile, readlink } from "node:fs/promises";

export interface OpenFiles {
  fileDescriptors: number;
  sockets: number;
}

/**
 * Counts the descriptors of processes; those that end meanwhile count as far as they were seen. Asynchronous, because
 * a server can have a hundred thousand of them.
 */
export async function countOpenFiles(pids: readonly number[]): Promise<OpenFiles> {
  const open: OpenFiles = { fileDescriptors: 0, sockets: 0 };
  for (const pid of pids) {
    const directory = `/proc/${pid}/fd`;
    const names = await orElse(readdir(directory), []);
    open.fileDescriptors += names.length;
    for (const name of names)
      if ((await orElse(readlink(`${directory}/${name}`), "")).startsWith("socket:")) open.sockets++;
  }
  return open;
}

/** The soft limit on open files, proc_pid_limits(5); undefined when it is unlimited or the process is gone. */
export async function openFilesLimit(pid: number): Promise<bigint | undefined> {
  const limits = await orElse(readFile(`/proc/${pid}/limits`, "utf8"), "");
  const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
  return soft === undefined ? undefined : BigInt(soft);
}

async function orElse<T>(reading: Promise<T>, missing: T): Promise<T> {
  try {
    return await reading;
  } catch {
    // ESRCH, ENOENT: the process or the descriptor is gone; EACCES: a process in the middle of execve.
    return missing;
  }
}

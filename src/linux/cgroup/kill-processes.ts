// Processes of a cgroup: listing, freezing, killing all of them.
import { setTimeout as sleep } from "node:timers/promises";
import { errnoOf } from "../../base/errors.ts";
import { close } from "../files.ts";
import { openPidfd, signalPidfd } from "../pidfd.ts";
import { childCgroups, readCgroupFile, writeCgroupFile } from "./cgroup-file.ts";
import { hierarchyOf, trackingHierarchy, words, type CgroupLayout } from "./layout.ts";

const SIGKILL = 9;

/** Pids in the cgroup and in all below it; none when it does not exist. */
export function processesOf(layout: CgroupLayout, path: string): number[] {
  const pids: number[] = [];
  collectPids(trackingHierarchy(layout).root + path, pids);
  return pids;
}

function collectPids(directory: string, pids: number[]): void {
  const own = readCgroupFile(`${directory}/cgroup.procs`);
  if (own === undefined) return;
  for (const pid of words(own)) pids.push(Number(pid));
  for (const entry of childCgroups(directory)) collectPids(`${directory}/${entry}`, pids);
}

/** False also when the cgroup does not exist. Costs one file read in v2, a walk in v1. */
export function hasProcesses(layout: CgroupLayout, path: string): boolean {
  if (layout.unified !== undefined) {
    const events = readCgroupFile(`${layout.unified.root}${path}/cgroup.events`);
    return events !== undefined && /^populated 1$/m.test(events);
  }
  return processesOf(layout, path).length > 0;
}

const killWaitMs = [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/**
 * SIGKILL to everything in the cgroup and below it, again and again until it is empty or about a second has passed:
 * a process in uninterruptible sleep cannot be waited for here (cri-o#7736). Returns whether the cgroup is empty.
 */
export async function killProcesses(layout: CgroupLayout, path: string): Promise<boolean> {
  for (const waitMs of killWaitMs) {
    if (!hasProcesses(layout, path)) return true;
    await killOnce(layout, path);
    if (!hasProcesses(layout, path)) return true;
    await sleep(waitMs);
  }
  return !hasProcesses(layout, path);
}

async function killOnce(layout: CgroupLayout, path: string): Promise<void> {
  // A task frozen by the v1 freezer does not even die.
  if (isFrozenV1(layout, path)) thaw(layout, path);
  if (layout.unified !== undefined) {
    try {
      // Linux 5.14; catches processes that fork while it runs.
      writeCgroupFile(`${layout.unified.root}${path}/cgroup.kill`, "1");
      return;
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw error;
    }
  }
  await freeze(layout, path);
  try {
    signalAll(layout, path);
  } finally {
    thaw(layout, path);
  }
}

// The descriptor is opened first and the list read again after it: a pid that was reused in between is not in it.
function signalAll(layout: CgroupLayout, path: string): void {
  const opened: [pid: number, pidfd: number][] = [];
  for (const pid of processesOf(layout, path)) {
    const pidfd = tryOpenPidfd(pid);
    if (pidfd !== undefined) opened.push([pid, pidfd]);
  }
  const still = new Set(processesOf(layout, path));
  for (const [pid, pidfd] of opened) {
    if (still.has(pid)) signalPidfd(pidfd, SIGKILL);
    close(pidfd);
  }
}

function tryOpenPidfd(pid: number): number | undefined {
  try {
    return openPidfd(pid);
  } catch (error) {
    if (errnoOf(error) === "ESRCH") return undefined;
    throw error;
  }
}

function freezerFileV1(layout: CgroupLayout, path: string): string | undefined {
  const hierarchy = hierarchyOf(layout, "freezer");
  return hierarchy?.version === 1 ? `${hierarchy.root}${path}/freezer.state` : undefined;
}

function isFrozenV1(layout: CgroupLayout, path: string): boolean {
  const file = freezerFileV1(layout, path);
  return file !== undefined && !(readCgroupFile(file) ?? "THAWED").startsWith("THAWED");
}

export function isFrozen(layout: CgroupLayout, path: string): boolean {
  if (freezerFileV1(layout, path) !== undefined) return isFrozenV1(layout, path);
  if (layout.unified === undefined) return false;
  return readCgroupFile(`${layout.unified.root}${path}/cgroup.freeze`)?.trim() === "1";
}

const freezeWaitMs = [0, 1, 2, 4, 8, 16, 32, 64, 128];

/** Stops all processes where they are; returns whether they have all stopped within a quarter of a second. */
export async function freeze(layout: CgroupLayout, path: string): Promise<boolean> {
  const v1 = freezerFileV1(layout, path);
  const request = (): boolean => {
    if (v1 !== undefined) {
      // Written again each time: tasks that forked meanwhile are caught by the next try.
      writeIfThere(v1, "FROZEN");
      return (readCgroupFile(v1) ?? "FROZEN").startsWith("FROZEN");
    }
    const directory = `${layout.unified?.root ?? ""}${path}`;
    writeIfThere(`${directory}/cgroup.freeze`, "1");
    return /^frozen 1$/m.test(readCgroupFile(`${directory}/cgroup.events`) ?? "frozen 1");
  };
  for (const waitMs of freezeWaitMs) {
    if (request()) return true;
    await sleep(waitMs);
  }
  return request();
}

export function thaw(layout: CgroupLayout, path: string): void {
  const v1 = freezerFileV1(layout, path);
  if (v1 !== undefined) writeIfThere(v1, "THAWED");
  else if (layout.unified !== undefined) writeIfThere(`${layout.unified.root}${path}/cgroup.freeze`, "0");
}

function writeIfThere(file: string, value: string): void {
  try {
    writeCgroupFile(file, value);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno !== "ENOENT" && errno !== "ENODEV") throw error;
  }
}

// Making and removing the directories of a cgroup in every hierarchy.
import { mkdirSync, rmdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { CricketError, errnoOf, failedPrecondition, SyscallError } from "../../base/errors.ts";
import { readProcessCgroups } from "../proc.ts";
import { childCgroups, readCgroupFile, writeCgroupFile } from "./cgroup-file.ts";
import { parentOf } from "./cgroup-path.ts";
import { allRoots, words, type CgroupLayout, type Hierarchy } from "./layout.ts";

/** Makes the cgroup and what is missing above it in every hierarchy. What exists is used as it is. */
export function createCgroup(layout: CgroupLayout, path: string): void {
  for (const hierarchy of layout.v1) {
    makeDirectory(hierarchy, path);
    if (isV1Cpuset(hierarchy)) inheritCpuset(hierarchy.root, path);
  }
  const { unified } = layout;
  if (unified === undefined) return;
  makeDirectory(unified, path);
  // On a hybrid machine the controllers' limits are in v1; what the unified hierarchy has is switched on when asked for.
  if (layout.kind === "v2") enableControllers(unified, path, usualControllers);
}

/** What limits and statistics need. Others (misc, rdma) would only cost memory in every cgroup. */
export const usualControllers = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"];

function makeDirectory(hierarchy: Hierarchy, path: string): void {
  const directory = hierarchy.root + path;
  try {
    mkdirSync(directory, 0o755);
  } catch (error) {
    const errno = errnoOf(error) ?? "EIO";
    if (errno === "EEXIST") return;
    if (errno !== "ENOENT" || parentOf(path) === "") throw new SyscallError("mkdir", errno, directory);
    makeDirectory(hierarchy, parentOf(path));
    if (isV1Cpuset(hierarchy)) {
      inheritCpuset(hierarchy.root, parentOf(path));
      // Only in directories that cricket made: children start with the parent's CPUs and nodes.
      writeCgroupFile(`${hierarchy.root}${parentOf(path)}/cgroup.clone_children`, "1");
    }
    makeDirectory(hierarchy, path);
  }
}

// In v2 an empty cpuset means the parent's, and there is no cgroup.clone_children.
function isV1Cpuset({ version, controllers }: Hierarchy): boolean {
  return version === 1 && controllers.includes("cpuset");
}

// A v1 cpuset begins empty, and no task can join an empty one (ENOSPC).
function inheritCpuset(root: string, path: string): void {
  for (const file of ["cpuset.cpus", "cpuset.mems"]) {
    const own = `${root}${path}/${file}`;
    if ((readCgroupFile(own) ?? "").trim() !== "") {
      // Both are set together, by clone_children or by this function.
      if (file === "cpuset.cpus") return;
      continue;
    }
    if (parentOf(path) !== "") inheritCpuset(root, parentOf(path));
    writeCgroupFile(own, (readCgroupFile(`${root}${parentOf(path)}/${file}`) ?? "").trim());
  }
}

/**
 * Makes controllers usable in `path` by switching them on in every cgroup above it, from the top. Controllers that
 * the machine does not have are left out; whoever asks for a limit of one gets the error.
 */
export function enableControllers(unified: Hierarchy, path: string, wanted: readonly string[]): void {
  const controllers = wanted.filter((controller) => unified.controllers.includes(controller));
  enableIn(unified.root, parentOf(path), controllers);
}

function enableIn(root: string, path: string, controllers: readonly string[]): void {
  const file = `${root}${path}/cgroup.subtree_control`;
  const enabled = new Set(words(readCgroupFile(file)));
  const missing = controllers.filter((controller) => !enabled.has(controller));
  if (missing.length === 0) return;
  if (path !== "") enableIn(root, parentOf(path), controllers);
  const value = missing.map((controller) => `+${controller}`).join(" ");
  try {
    writeCgroupFile(file, value);
  } catch (error) {
    if (!hasErrno(error, "EBUSY")) return enableEach(file, missing, error);
    leaveInnerCgroup(root, path, value);
    writeCgroupFile(file, value);
  }
}

// One controller that cannot be had (cpu, while realtime tasks are in the root) must not cost the others.
function enableEach(file: string, controllers: readonly string[], cause: unknown): void {
  let enabled = 0;
  for (const controller of controllers) {
    try {
      writeCgroupFile(file, `+${controller}`);
      enabled++;
    } catch {
      continue;
    }
  }
  if (enabled === 0) throw cause;
}

/**
 * cgroups(7), "no internal processes": a cgroup with processes cannot switch on controllers for its children. When
 * cricket itself runs in the topmost cgroup it sees (in a container with a cgroup namespace of its own), everything
 * there moves to a leaf. Any other inner cgroup with processes is somebody else's.
 */
function leaveInnerCgroup(root: string, path: string, value: string): void {
  if (path !== "" || readProcessCgroups("self").get("") !== "/")
    throw failedPrecondition(
      `write ${value} to ${root}${path}/cgroup.subtree_control: EBUSY (the cgroup has processes of its own)`,
    );
  const leaf = `${root}/cricket-node`;
  try {
    mkdirSync(leaf);
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw new SyscallError("mkdir", errnoOf(error) ?? "EIO", leaf);
  }
  for (const pid of words(readCgroupFile(`${root}/cgroup.procs`))) {
    try {
      writeCgroupFile(`${leaf}/cgroup.procs`, pid);
    } catch (error) {
      if (!hasErrno(error, "ESRCH")) throw error;
    }
  }
}

function hasErrno(error: unknown, errno: string): boolean {
  return errnoOf(error) === errno || (error instanceof CricketError && errnoOf(error.cause) === errno);
}

const removeTimeoutMs = 2000;

/**
 * Removes the cgroup and everything below it in every hierarchy. Idempotent. A cgroup stays busy for a moment after
 * its last process has died; that is waited for, up to two seconds. Throws the EBUSY of what remains.
 */
export async function removeCgroup(layout: CgroupLayout, path: string): Promise<void> {
  const deadline = Date.now() + removeTimeoutMs;
  let left = allRoots(layout).map((root) => root + path);
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, 100)) {
    const busy = left.filter((directory) => !removeTree(directory));
    if (busy.length === 0) return;
    if (Date.now() > deadline)
      throw new CricketError("failed-precondition", `rmdir ${busy[0]}: EBUSY (the cgroup has processes)`);
    left = busy;
    await sleep(waitMs);
  }
}

/** Removes a cgroup with all below it; true when it is gone, false when some of it is busy. */
export function removeTree(directory: string): boolean {
  if (tryRmdir(directory)) return true;
  const children = childCgroups(directory);
  for (const child of children) removeTree(`${directory}/${child}`);
  return children.length > 0 && tryRmdir(directory);
}

/** True when the directory is gone, false when it has processes or cgroups in it. */
export function tryRmdir(directory: string): boolean {
  try {
    rmdirSync(directory);
    return true;
  } catch (error) {
    const errno = errnoOf(error) ?? "EIO";
    if (errno === "ENOENT" || errno === "ENODEV") return true;
    // ENOTEMPTY and EBUSY both mean children or processes.
    if (errno === "EBUSY" || errno === "ENOTEMPTY") return false;
    throw new SyscallError("rmdir", errno, directory);
  }
}

/** Names of the cgroups directly below `path`, in whichever hierarchy they are left. */
export function listChildren(layout: CgroupLayout, path: string): string[] {
  const names = allRoots(layout).flatMap((root) => childCgroups(root + path));
  return [...new Set(names)];
}

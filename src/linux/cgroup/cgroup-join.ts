// How a new process enters a cgroup: by descriptors that are opened before it exists.
import { closeSync, constants, openSync } from "node:fs";
import { errnoOf, SyscallError } from "../../base/errors.ts";
import { readProcessCgroups } from "../proc.ts";
import type { CgroupLayout, Hierarchy } from "./layout.ts";

/** Open descriptors with which a new process enters a cgroup. Disposing closes them. */
export interface CgroupJoin extends Disposable {
  /** v1 `tasks` files: the new process, still single-threaded, writes "0" to each. */
  readonly files: number[];
  /** `tasks` files of resctrl, in the order in which they are entered, in the same way. */
  readonly rdt?: number[];
  /** The v2 directory for CLONE_INTO_CGROUP; absent without v2. */
  readonly directory?: number;
  /** `cgroup.kill` of the v2 directory, write-only; absent before Linux 5.14. */
  readonly killFile?: number;
}

/** Existing cgroups below a path, "/name" or "": what `byController` does not name has `all`. */
export interface SubCgroups {
  all?: string;
  byController: ReadonlyMap<string, string>;
}

export interface JoinOptions {
  below?: SubCgroups;
  /** A cgroup below the path, in v2 alone: "/exec-1". */
  subgroup?: string;
  /** A process of the cgroup: where the path does not exist, the process is joined wherever it is. */
  member?: number;
}

/** `path`: checked. Throws SyscallError; then nothing stays open. */
export function openJoin(
  layout: CgroupLayout,
  path: string,
  { subgroup = "", member, below }: JoinOptions,
): CgroupJoin {
  const files: number[] = [];
  const opened: { directory?: number; killFile?: number } = {};
  const dispose = (): void => {
    for (const fd of [...files, opened.directory, opened.killFile]) if (fd !== undefined) closeSync(fd);
  };
  const placeIn = (hierarchy: Hierarchy): { path: string; member: number | undefined } => {
    const name = nameBelow(hierarchy, below);
    // One that was asked for by its name is not replaced by another.
    return name === "" ? { path, member } : { path: `${path}${name}`, member: undefined };
  };
  try {
    for (const hierarchy of layout.v1) files.push(openOf(hierarchy, placeIn(hierarchy), openTasks).fd);
    const { unified } = layout;
    if (unified !== undefined) {
      const place = placeIn(unified);
      const { fd, isOwn } = openOf(unified, { ...place, path: `${place.path}${subgroup}` }, openDirectory);
      opened.directory = fd;
      // Killing where somebody else may live as well is not what the caller means.
      const killFile = isOwn
        ? tryOpen(`${unified.root}${place.path}${subgroup}/cgroup.kill`, constants.O_WRONLY)
        : undefined;
      if (killFile !== undefined) opened.killFile = killFile;
    }
  } catch (error) {
    dispose();
    throw error;
  }
  return { files, ...opened, [Symbol.dispose]: dispose };
}

/**
 * A join that also enters groups of resctrl, by the paths of their `tasks`. It takes over `join`, which is disposed of
 * where a path cannot be opened. Throws SyscallError.
 */
export function joinTasks(join: CgroupJoin, paths: readonly string[]): CgroupJoin {
  if (paths.length === 0) return join;
  const added: number[] = [];
  const dispose = (): void => {
    for (const fd of added) closeSync(fd);
    join[Symbol.dispose]();
  };
  try {
    for (const path of paths) added.push(openFile(path, constants.O_WRONLY));
  } catch (error) {
    dispose();
    throw error;
  }
  return { ...join, rdt: added, [Symbol.dispose]: dispose };
}

function nameBelow({ controllers }: Hierarchy, below: SubCgroups | undefined): string {
  const named = controllers.map((name) => below?.byController.get(name)).find((name) => name !== undefined);
  return named ?? below?.all ?? "";
}

const openTasks = (directory: string): number => openFile(`${directory}/tasks`, constants.O_WRONLY);
const openDirectory = (directory: string): number =>
  openFile(directory, constants.O_RDONLY | constants.O_DIRECTORY);

function openOf(
  { root, version, controllers }: Hierarchy,
  { path, member }: { path: string; member: number | undefined },
  open: (directory: string) => number,
): { fd: number; isOwn: boolean } {
  try {
    return { fd: open(root + path), isOwn: true };
  } catch (error) {
    if (errnoOf(error) !== "ENOENT" || member === undefined) throw error;
    const actual = readProcessCgroups(member).get(version === 2 ? "" : (controllers[0] ?? ""));
    if (actual === undefined) throw error;
    return { fd: open(root + actual), isOwn: false };
  }
}

export function openFile(file: string, flags: number): number {
  try {
    return openSync(file, flags);
  } catch (error) {
    throw new SyscallError("open", errnoOf(error) ?? "EIO", file);
  }
}

/** Undefined where there is no such file. */
export function tryOpen(file: string, flags: number): number | undefined {
  try {
    return openSync(file, flags);
  } catch (error) {
    const errno = errnoOf(error) ?? "EIO";
    if (errno === "ENOENT") return undefined;
    throw new SyscallError("open", errno, file);
  }
}

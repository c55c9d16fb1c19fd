// What another OCI runtime needs to see mounted on the host: <run>/mounts/<container id>/{rootfs,volume-0,...}.
import { closeSync, fstatSync, mkdirSync, openSync, readdirSync, rmdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { errnoOf } from "../base/errors.ts";
import type { Paths } from "../config/paths.ts";
import { attachMount, MNT_DETACH, umount } from "../linux/mount.ts";

export class HostMounts {
  readonly #directory: string;

  constructor(id: string, paths: Paths) {
    this.#directory = paths.hostMounts(id);
  }

  get rootfs(): string {
    return join(this.#directory, "rootfs");
  }

  volume(index: number): string {
    return join(this.#directory, `volume-${index}`);
  }

  /** The descriptors are detached mounts, and stay the caller's. */
  attach(rootfs: number, volumes: readonly number[]): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    attach(rootfs, this.rootfs);
    for (const [index, fd] of volumes.entries()) attach(fd, this.volume(index));
  }

  /** Idempotent. Lazy: what a runtime left running in a mount must not keep its container from going (containerd#4020). */
  release(): void {
    for (const name of list(this.#directory)) detach(join(this.#directory, name));
    remove(rmdirSync, this.#directory);
  }
}

/** At start: takes away the mounts of containers that are not in `known`. */
export function sweepHostMounts(paths: Paths, known: ReadonlySet<string>): void {
  for (const id of list(paths.hostMountsRoot)) if (!known.has(id)) new HostMounts(id, paths).release();
}

function attach(fd: number, target: string): void {
  // A volume may be one file of an image.
  if (fstatSync(fd).isDirectory()) mkdirSync(target, { mode: 0o700 });
  else closeSync(openSync(target, "wx", 0o600));
  attachMount(fd, target);
}

function detach(target: string): void {
  try {
    umount(target, MNT_DETACH);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT" && errnoOf(error) !== "EINVAL") throw error;
  }
  // Never recursive: were it still mounted, that would empty the container's layer.
  remove((path) => {
    try {
      rmdirSync(path);
    } catch (error) {
      if (errnoOf(error) !== "ENOTDIR") throw error;
      unlinkSync(path);
    }
  }, target);
}

function remove(how: (path: string) => void, path: string): void {
  try {
    how(path);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}

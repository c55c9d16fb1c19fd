// Mount points in a rootfs that `create` has never seen, as when a checkpoint is restored on another machine.
import { openSync, statSync } from "node:fs";
import { basename, dirname, normalize } from "node:path";
import { errnoOf } from "../../base/errors.ts";
import {
  close,
  mkdirat,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  openat,
  openat2,
  RESOLVE_IN_ROOT,
} from "../../linux/files.ts";
import type { Mount, Spec } from "../spec.ts";
import { isBind } from "./criu-externals.ts";

/** Only those on the rootfs itself: what lies on another mount is written by criu. */
export function makeMountPoints(rootfs: string, { mounts = [] }: Spec): void {
  const root = openSync(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
  try {
    const paths = mounts.map(({ destination }) => normalize(destination));
    for (const [index, mount] of mounts.entries()) {
      const path = paths[index] ?? "/";
      const isCovered = paths.some((other) => other !== path && path.startsWith(`${other}/`));
      if (!isCovered) makeMountPoint(root, path, isFile(mount));
    }
  } finally {
    close(root);
  }
}

function isFile(mount: Mount): boolean {
  return isBind(mount) && !statSync(mount.source ?? "").isDirectory();
}

function makeMountPoint(root: number, path: string, file: boolean): void {
  if (path === "/" || exists(root, path)) return;
  makeMountPoint(root, dirname(path), false);
  const parent = openat2(root, dirname(path), { flags: O_PATH | O_DIRECTORY, resolve: RESOLVE_IN_ROOT });
  try {
    if (file) close(openat(parent, basename(path), O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644));
    else mkdirat(parent, basename(path), 0o755);
  } finally {
    close(parent);
  }
}

function exists(root: number, path: string): boolean {
  try {
    close(openat2(root, path, { flags: O_PATH, resolve: RESOLVE_IN_ROOT }));
    return true;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw error;
  }
}

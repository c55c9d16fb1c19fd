// For kernels that cannot do something to a mount that is attached nowhere.
import { mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { AT_FDCWD, close, O_DIRECTORY, O_PATH, openat2 } from "../linux/files.ts";
import { attachMount, MNT_DETACH, umount } from "../linux/mount.ts";
import { makeScratchPlace } from "./scratch-directory.ts";

/** Attaches a detached mount below a private directory of `scratchDir`, for as long as `use` looks at it. */
export function withAttached<T>(mount: number, scratchDir: string, use: (root: number) => T): T {
  const place = makeScratchPlace(scratchDir);
  const path = join(place, "mount");
  try {
    mkdirSync(path);
    attachMount(mount, path);
    const root = openat2(AT_FDCWD, path, { flags: O_PATH | O_DIRECTORY });
    try {
      return use(root);
    } finally {
      close(root);
      umount(path, MNT_DETACH);
    }
  } finally {
    rmdirSync(path);
    rmdirSync(place);
  }
}

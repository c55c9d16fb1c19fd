// Some archives hold files without the directories they are in (Bazel's among them). Unpacked alone, such a directory
// would hide the owner and mode that a lower layer gives it: /tmp would stop being 1777.
import { closeSync, fstatSync, openSync } from "node:fs";
import {
  close,
  fchmod,
  fchown,
  futimens,
  O_DIRECTORY,
  O_RDONLY,
  openat2,
  type PathName,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from "../linux/files.ts";
import { errnoOf } from "../base/errors.ts";
import { pathNameOf } from "./entry-path.ts";

/**
 * Gives directories of a layer the owner, mode and modification time they have in the layers below.
 * `implicitDirectories` are as UnpackedLayer has them; `below` are layer directories, top first.
 */
export function inheritDirectories(
  layer: string,
  implicitDirectories: readonly string[],
  below: readonly string[],
): void {
  const opened: number[] = [];
  try {
    for (const path of [layer, ...below]) opened.push(openSync(path, "r"));
    const [own, ...lower] = opened;
    for (const encoded of implicitDirectories) {
      const path = pathNameOf(Buffer.from(encoded, "base64").toString("latin1"));
      if (own !== undefined) inherit(own, lower, path);
    }
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

function inherit(own: number, lower: readonly number[], path: PathName): void {
  const target = open(own, path);
  if (typeof target !== "number") return;
  try {
    for (const fd of lower) {
      const source = open(fd, path);
      if (source === "absent") continue;
      // A file or whiteout in between: what is further below is hidden.
      if (source === "other") return;
      try {
        copyMetadata(source, target);
      } finally {
        close(source);
      }
      return;
    }
  } finally {
    close(target);
  }
}

function copyMetadata(source: number, target: number): void {
  const { uid, gid, mode, mtimeNs } = fstatSync(source, { bigint: true });
  fchown(target, Number(uid), Number(gid));
  fchmod(target, Number(mode) & 0o7777);
  const seconds = mtimeNs / 1_000_000_000n - (mtimeNs < 0n ? 1n : 0n);
  const time = { seconds, nanoseconds: Number(mtimeNs - seconds * 1_000_000_000n) };
  futimens(target, time, time);
}

function open(rootFd: number, path: PathName): number | "absent" | "other" {
  const resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  try {
    return openat2(rootFd, path, { flags: O_RDONLY | O_DIRECTORY, resolve });
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT") return "absent";
    if (errno === "ENOTDIR" || errno === "ELOOP") return "other";
    throw error;
  }
}

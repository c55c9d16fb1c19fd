// What a writable layer says about its container: which of its files are the container's own, and what of the layers
// below is gone, by path. Archives for others say it in these terms, not in overlayfs's.
import { readdirSync } from "node:fs";
import { errnoOf } from "../base/errors.ts";
import {
  close,
  fdPath,
  getxattr,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openat,
  openat2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
} from "../linux/files.ts";
import { isWhiteout, S_IFDIR, S_IFMT, statNoFollow } from "../linux/stat.ts";
import { pathNameOf } from "./entry-path.ts";

export interface LayerChanges {
  /** Relative, "." first and directories before what is in them; one character a byte. */
  present: string[];
  /** Absolute, the same. */
  deleted: string[];
}

const opaqueXattr = "trusted.overlay.opaque";

/** `upperFd`: the writable layer; `lowerFd`: all below it, as one tree. Both O_RDONLY, and stay open. */
export function listChanges(upperFd: number, lowerFd: number): LayerChanges {
  const changes: LayerChanges = { present: ["."], deleted: [] };
  new Walk(changes, lowerFd).directory(upperFd, "", false);
  return changes;
}

class Walk {
  readonly #changes: LayerChanges;
  readonly #lowerFd: number;

  constructor(changes: LayerChanges, lowerFd: number) {
    this.#changes = changes;
    this.#lowerFd = lowerFd;
  }

  directory(fd: number, path: string, hidesLower: boolean): void {
    const names = readNames(fd);
    for (const name of names) this.#entry(fd, name, path === "" ? name : `${path}/${name}`, hidesLower);
    if (!hidesLower) return;
    const own = new Set(names);
    for (const name of this.#lowerNames(path))
      if (!own.has(name)) this.#changes.deleted.push(`/${path}/${name}`);
  }

  #entry(parentFd: number, name: string, path: string, hidesLower: boolean): void {
    const status = statNoFollow(parentFd, pathNameOf(name));
    // Deleted while a container that runs on was looked at.
    if (status === undefined) return;
    if (isWhiteout(status)) {
      if (!hidesLower) this.#changes.deleted.push(`/${path}`);
      return;
    }
    this.#changes.present.push(path);
    if ((status.mode & S_IFMT) !== S_IFDIR) return;
    const fd = openat(parentFd, pathNameOf(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      const isOpaque = getxattr(fdPath(fd), opaqueXattr)?.toString("latin1") === "y";
      this.directory(fd, path, hidesLower || isOpaque);
    } finally {
      close(fd);
    }
  }

  #lowerNames(path: string): string[] {
    let fd: number;
    try {
      const resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
      fd = openat2(this.#lowerFd, pathNameOf(path), { flags: O_RDONLY | O_DIRECTORY, resolve });
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === "ENOENT" || errno === "ENOTDIR" || errno === "ELOOP") return [];
      throw error;
    }
    try {
      return readNames(fd);
    } finally {
      close(fd);
    }
  }
}

const readNames = (fd: number): string[] => readdirSync(fdPath(fd), { encoding: "latin1" });

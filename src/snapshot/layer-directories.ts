// The directories of a layer while it is unpacked: finds or makes the parent of every entry, inside the layer.
import {
  close,
  fchmod,
  fsetxattr,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openat,
  openat2,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  mkdirat,
  unlinkat,
} from "../linux/files.ts";
import { isWhiteout, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, statNoFollow } from "../linux/stat.ts";
import { errnoOf } from "../base/errors.ts";
import { deleteTree } from "./delete-tree.ts";
import { pathNameOf, splitPath } from "./entry-path.ts";
import { badArchive, printableName } from "./tar-entry.ts";

/** Parents in a row mostly repeat, so their descriptors are kept; this many. */
const maxOpenDirectories = 64;

const openFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

/** Overlayfs: the directory hides what lower layers have under its name. */
const opaqueXattr = "trusted.overlay.opaque";

/** Paths are normal byte strings, see entry-path.ts. Descriptors stay the property of this object. */
export class LayerDirectories {
  readonly #rootFd: number;
  // Least recently used first.
  readonly #open = new Map<string, number>();
  readonly #implicit = new Set<string>();
  #created = 0;

  constructor(rootFd: number) {
    this.#rootFd = rootFd;
  }

  /** Directories that no entry has described: made because something was inside. */
  get implicit(): ReadonlySet<string> {
    return this.#implicit;
  }

  /** How many directories were made. */
  get created(): number {
    return this.#created;
  }

  /**
   * The directory at `path`, symlinks resolved inside the layer; missing ones are made 0755 root:root. The descriptor
   * is good until the next call.
   */
  openParent(path: string): number {
    const found = this.find(path);
    if (found !== undefined) return found;
    const { parent, base } = splitPath(path);
    return this.#ensure(this.openParent(parent), path, base, false);
  }

  /** The same without making anything: undefined when it is missing or no directory. */
  find(path: string): number | undefined {
    if (path === "") return this.#rootFd;
    const cached = this.#open.get(path);
    if (cached !== undefined) {
      this.#open.delete(path);
      this.#open.set(path, cached);
      return cached;
    }
    try {
      const resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
      const fd = openat2(this.#rootFd, pathNameOf(path), { flags: O_RDONLY | O_DIRECTORY, resolve });
      return this.#keep(path, fd);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === "ENOENT" || errno === "ENOTDIR") return undefined;
      throw error;
    }
  }

  /** The directory an entry describes: made, or an existing one, or in the place of whatever else has the name. */
  enter(path: string): number {
    if (path === "") return this.#rootFd;
    const { parent, base } = splitPath(path);
    const fd = this.#ensure(this.openParent(parent), path, base, true);
    this.#implicit.delete(path);
    return fd;
  }

  /**
   * Deletes what stands at a place where something else comes; returns the bytes and inodes that went. Only
   * `parentFd` is sure to be open afterwards.
   */
  clear(parentFd: number, base: string): { bytes: number; inodes: number } {
    const name = pathNameOf(base);
    const status = statNoFollow(parentFd, name);
    if (status === undefined) return { bytes: 0, inodes: 0 };
    const kind = status.mode & S_IFMT;
    // A cached descriptor may belong to a path through this directory or symlink.
    if (kind === S_IFDIR || kind === S_IFLNK) this.#forgetAll(parentFd);
    if (kind === S_IFDIR) {
      deleteTree(parentFd, name);
      return { bytes: 0, inodes: 1 };
    }
    unlinkat(parentFd, name);
    if (status.links > 1) return { bytes: 0, inodes: 0 };
    return { bytes: kind === S_IFREG ? status.sizeBytes : 0, inodes: 1 };
  }

  close(): void {
    this.#forgetAll();
  }

  /** Makes a directory hide what lower layers have under its name. */
  static setOpaque(fd: number): void {
    fsetxattr(fd, opaqueXattr, Buffer.from("y"));
  }

  #ensure(parentFd: number, path: string, base: string, replace: boolean): number {
    const name = pathNameOf(base);
    let made = this.#tryMake(parentFd, base);
    let hidesLower = false;
    if (!made) {
      const status = statNoFollow(parentFd, name);
      hidesLower = status !== undefined && isWhiteout(status);
      const isDirectory = status !== undefined && (status.mode & S_IFMT) === S_IFDIR;
      if (!isDirectory) {
        // Only a directory entry of its own takes another's place; as a mere parent, a symlink that leads nowhere or
        // a file is an error.
        if (!replace && !hidesLower)
          throw badArchive(`parent ${printableName(path)} is not a directory of this layer`);
        this.clear(parentFd, base);
        made = this.#tryMake(parentFd, base);
      }
    }
    const fd = openat(parentFd, name, openFlags);
    try {
      if (made) {
        // mkdir's mode went through the umask.
        fchmod(fd, 0o755);
        this.#created++;
        this.#implicit.add(path);
      }
      // A whiteout and a directory of one name in one layer: the lower one is gone, this one is new.
      if (hidesLower) LayerDirectories.setOpaque(fd);
    } catch (error) {
      close(fd);
      throw error;
    }
    return this.#keep(path, fd);
  }

  #tryMake(parentFd: number, base: string): boolean {
    try {
      mkdirat(parentFd, pathNameOf(base), 0o755);
      return true;
    } catch (error) {
      if (errnoOf(error) === "EEXIST") return false;
      throw error;
    }
  }

  #keep(path: string, fd: number): number {
    const before = this.#open.get(path);
    if (before !== undefined) {
      this.#open.delete(path);
      close(before);
    }
    if (this.#open.size >= maxOpenDirectories) {
      const [oldest] = this.#open;
      if (oldest !== undefined) {
        this.#open.delete(oldest[0]);
        close(oldest[1]);
      }
    }
    this.#open.set(path, fd);
    return fd;
  }

  #forgetAll(inUse?: number): void {
    for (const [path, fd] of this.#open) {
      if (fd === inUse) continue;
      this.#open.delete(path);
      close(fd);
    }
  }
}

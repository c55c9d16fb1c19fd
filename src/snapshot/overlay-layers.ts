// The layers of an overlay as overlayfs is told of them. With mapped ids a layer is an idmapped mount of its directory.
import { mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, CricketError } from "../base/errors.ts";
import { AT_FDCWD, close, fdPath } from "../linux/files.ts";
import { isAtLeast, kernelRelease } from "../linux/kernel-release.ts";
import {
  attachMount,
  cloneMount,
  MNT_DETACH,
  MOUNT_ATTR_IDMAP,
  setMountAttributes,
  umount,
} from "../linux/mount.ts";
import { makeScratchPlace } from "./scratch-directory.ts";

export interface LayerIdmap {
  userNamespace: number;
  attach?: boolean;
  scratchDir?: string;
}

/** A detached mount of a layer's directory, idmapped where ids are mapped. */
export function cloneLayer(directory: string, idmap: LayerIdmap | undefined): number {
  const fd = cloneMount(AT_FDCWD, directory, false);
  if (idmap === undefined) return fd;
  try {
    setMountAttributes(fd, { set: MOUNT_ATTR_IDMAP, usernsFd: idmap.userNamespace }, false);
    return fd;
  } catch (error) {
    close(fd);
    // mount_setattr(2): the filesystem has no FS_ALLOW_IDMAP.
    if (errnoOf(error) !== "EINVAL") throw error;
    throw new CricketError(
      "failed-precondition",
      `the filesystem of ${directory} has no idmapped mounts, which user namespaces need`,
      { cause: error },
    );
  }
}

/** Names for the layers, which hold until it is disposed: overlayfs keeps private copies of what they stand for. */
export class NamedLayers implements Disposable {
  readonly names: readonly string[];
  /** What overlayfs is told in place of the names from Linux 6.13 on: of mapped layers, else none. */
  readonly descriptors: number[] = [];
  readonly #undo: (() => void)[] = [];

  constructor(
    directories: readonly string[],
    idmap: LayerIdmap | undefined,
    nameOf: (path: string) => string,
  ) {
    try {
      this.names = idmap === undefined ? directories.map(nameOf) : this.#mapped(directories, idmap);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  #mapped(directories: readonly string[], idmap: LayerIdmap): string[] {
    // Not by trial: a mount that fails has marked the work directory as volatile, and no other takes it then.
    const attach = idmap.attach ?? !isAtLeast(kernelRelease(), 6, 15);
    const place = attach ? this.#makePlace(idmap.scratchDir) : undefined;
    return directories.map((directory, index) => {
      const fd = cloneLayer(directory, idmap);
      this.#undo.push(() => close(fd));
      this.descriptors.push(fd);
      if (place === undefined) return fdPath(fd);
      const path = join(place, String(index));
      mkdirSync(path);
      this.#undo.push(() => rmdirSync(path));
      attachMount(fd, path);
      this.#undo.push(() => umount(path, MNT_DETACH));
      return fdPath(fd);
    });
  }

  #makePlace(scratchDir: string | undefined): string {
    const place = makeScratchPlace(scratchDir);
    this.#undo.push(() => rmdirSync(place));
    return place;
  }

  [Symbol.dispose](): void {
    for (const undo of this.#undo.splice(0).reverse()) undo();
  }
}

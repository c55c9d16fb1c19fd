// Entries of a layer's archive -> files below one directory. Every path is resolved under that directory's descriptor
// (openat2 RESOLVE_IN_ROOT), the last component is never followed, and what is in the way is unlinked and not written
// through: so no symlink or hardlink of the archive leads anywhere else (CVE-2018-15664, CVE-2021-32760,
// CVE-2025-47290).
import { fstatSync, ftruncateSync, readdirSync, readFileSync, writeSync } from "node:fs";
import {
  close,
  fchmod,
  fchown,
  fdPath,
  futimens,
  linkat,
  makedev,
  mknodat,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_WRONLY,
  openat,
  type PathName,
  symlinkat,
  type Timespec,
} from "../linux/files.ts";
import { S_IFBLK, S_IFCHR, S_IFIFO } from "../linux/stat.ts";
import { errnoOf, wrapError } from "../base/errors.ts";
import { applyFileXattrs, applyNodeMetadata, isPosixDefaultAcl } from "./entry-metadata.ts";
import { type EntryPath, parseEntryName, pathNameOf, splitPath } from "./entry-path.ts";
import { LayerDirectories } from "./layer-directories.ts";
import type { DiskUsage } from "./layer-store.ts";
import { badArchive, printableName, type SparseMap, type TarEntry, type TarSink } from "./tar-entry.ts";
import { parseWhiteout, type WhiteoutMark } from "./whiteout.ts";

const newFileFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;

/** What a file occupies is counted in blocks of this size, as every filesystem in use allocates. */
const blockBytes = 4096;

export interface UnpackedLayer {
  usage: DiskUsage;
  /** Directories without an entry of their own, as base64 of their path's bytes; see inherit-directories.ts. */
  implicitDirectories: string[];
  /** Extended attributes that this filesystem does not take. */
  skippedXattrs: number;
}

interface OpenFile {
  fd: number;
  entry: TarEntry;
  /** Of a sparse file: where the next byte of data belongs. */
  segment: number;
  offsetInSegment: number;
}

/** Unpacks into the open directory `rootFd` (O_RDONLY), which stays open. Synchronous: meant for a worker thread. */
export class LayerUnpacker implements TarSink {
  readonly #rootFd: number;
  readonly #directories: LayerDirectories;
  readonly #directoryTimes = new Map<string, Timespec>();
  readonly #umask = readUmask();
  #file: OpenFile | undefined;
  #name = "";
  #usage: DiskUsage = { bytes: 0, inodes: 1 };
  #skippedXattrs = 0;
  // Files made below a setgid directory, or one with a default ACL, do not begin with root's group and the given mode.
  #inheritance = false;
  readonly #merges: boolean;

  /** `merges`: into a tree that is there already, as a container sees it; whiteouts delete then. */
  constructor(rootFd: number, { merges = false } = {}) {
    this.#rootFd = rootFd;
    this.#merges = merges;
    this.#directories = new LayerDirectories(rootFd);
    if (!merges) fchmod(rootFd, 0o755);
    this.#inheritance = (fstatSync(rootFd).mode & 0o2000) !== 0;
  }

  entry(entry: TarEntry): void {
    this.#name = entry.name;
    this.#guard(() => {
      const path = parseEntryName(entry.name);
      const mark = parseWhiteout(path);
      if (mark.kind === "none") this.#make(path, entry);
      else if (this.#merges) this.#delete(path.parent, mark);
      else if (mark.kind === "whiteout") this.#makeWhiteout(path.parent, mark.name);
      else if (mark.kind === "opaque") LayerDirectories.setOpaque(this.#directories.openParent(path.parent));
    });
  }

  data(bytes: Uint8Array): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#guard(() => {
      if (file.entry.sparse === undefined) writeAll(file.fd, bytes, null);
      else writeSparse(file, bytes, file.entry.sparse);
    });
  }

  endOfEntry(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#guard(() => {
      if (file.entry.sparse !== undefined) ftruncateSync(file.fd, file.entry.sparse.sizeBytes);
      this.#finishFile(file);
    });
    this.#file = undefined;
    close(file.fd);
  }

  /** Sets the times of directories, which every entry in them had changed, and sums up. */
  finish(): UnpackedLayer {
    for (const [path, time] of this.#directoryTimes) this.#setDirectoryTime(path, time);
    const { bytes, inodes } = this.#usage;
    const directories = this.#directories.created;
    return {
      usage: { bytes: bytes + (directories + 1) * blockBytes, inodes: inodes + directories },
      implicitDirectories: [...this.#directories.implicit].map((path) =>
        Buffer.from(path, "latin1").toString("base64"),
      ),
      skippedXattrs: this.#skippedXattrs,
    };
  }

  /** Closes all descriptors but the root's. */
  close(): void {
    if (this.#file !== undefined) close(this.#file.fd);
    this.#file = undefined;
    this.#directories.close();
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      throw wrapError(`entry ${printableName(this.#name)}`, error);
    }
  }

  #make(path: EntryPath, entry: TarEntry): void {
    if (entry.type === "directory") return this.#makeDirectory(path, entry);
    if (path.base === "") throw badArchive("the root of the layer is no directory");
    const parentFd = this.#directories.openParent(path.parent);
    switch (entry.type) {
      case "file":
        return this.#startFile(parentFd, path, entry);
      case "hardlink":
        return this.#makeHardlink(parentFd, path, entry);
      case "symlink":
        return this.#makeSymlink(parentFd, path, entry);
      case "character-device":
        return this.#makeNode(parentFd, path, entry, S_IFCHR);
      case "block-device":
        return this.#makeNode(parentFd, path, entry, S_IFBLK);
      case "fifo":
        return this.#makeNode(parentFd, path, entry, S_IFIFO);
    }
  }

  #makeDirectory({ path }: EntryPath, entry: TarEntry): void {
    const fd = this.#directories.enter(path);
    fchown(fd, entry.uid, entry.gid);
    fchmod(fd, entry.mode);
    this.#skippedXattrs += applyFileXattrs(fd, entry.xattrs);
    if ((entry.mode & 0o2000) !== 0 || isPosixDefaultAcl(entry.xattrs)) this.#inheritance = true;
    this.#directoryTimes.set(path, entry.modifiedAt);
  }

  #startFile(parentFd: number, { base }: EntryPath, entry: TarEntry): void {
    const name = pathNameOf(base);
    const fd = this.#create(parentFd, base, () => openat(parentFd, name, newFileFlags, entry.mode & 0o777));
    this.#file = { fd, entry, segment: 0, offsetInSegment: 0 };
    this.#count(entry.dataBytes);
  }

  /** Owner before mode (chown clears setuid), capabilities after both and after the data (each clears them), times last. */
  #finishFile({ fd, entry }: OpenFile): void {
    const { uid, gid, mode } = entry;
    if (uid !== 0 || gid !== 0 || this.#inheritance) fchown(fd, uid, gid);
    // open(2) has applied the mode already unless the umask took bits away.
    if (mode > 0o777 || (mode & this.#umask) !== 0 || this.#inheritance) fchmod(fd, mode);
    if (entry.xattrs.size > 0) this.#skippedXattrs += applyFileXattrs(fd, entry.xattrs);
    futimens(fd, entry.modifiedAt, entry.modifiedAt);
  }

  #makeHardlink(parentFd: number, { path, base }: EntryPath, entry: TarEntry): void {
    const target = parseEntryName(entry.linkName);
    const missing = (): Error =>
      badArchive(`hardlink target ${printableName(entry.linkName)} is not in this layer`);
    // A link to itself would delete its target first.
    if (target.path === path) throw badArchive("hardlink to itself");
    this.#create(parentFd, base, () => {
      // Looked up each time: clearing the place may have closed it.
      const targetFd = this.#directories.find(target.parent);
      if (targetFd === undefined || target.base === "") throw missing();
      try {
        // Without AT_SYMLINK_FOLLOW: a symlink gets another name, what it points to is not touched.
        linkat(targetFd, pathNameOf(target.base), parentFd, pathNameOf(base));
      } catch (error) {
        if (errnoOf(error) === "ENOENT") throw missing();
        throw error;
      }
    });
  }

  #makeSymlink(parentFd: number, { base }: EntryPath, entry: TarEntry): void {
    const target = pathNameOf(entry.linkName);
    const name = pathNameOf(base);
    this.#create(parentFd, base, () => symlinkat(target, parentFd, name));
    this.#finishNode(parentFd, name, entry, true);
  }

  #makeNode(parentFd: number, { base }: EntryPath, entry: TarEntry, kind: number): void {
    const name = pathNameOf(base);
    const device = kind === S_IFIFO ? 0n : makedev(entry.deviceMajor, entry.deviceMinor);
    this.#create(parentFd, base, () => mknodat(parentFd, name, kind | 0o600, device));
    this.#finishNode(parentFd, name, entry, false);
  }

  #finishNode(parentFd: number, name: PathName, entry: TarEntry, isSymlink: boolean): void {
    this.#count(0);
    this.#skippedXattrs += applyNodeMetadata(parentFd, name, entry, isSymlink);
  }

  /**
   * A mark for overlayfs: a character device 0:0. A whiteout hides only what is below this layer: an entry that the
   * layer itself has under the name stays, but as a directory it must not be merged with the one below.
   */
  #makeWhiteout(parent: string, base: string): void {
    const parentFd = this.#directories.openParent(parent);
    const name = pathNameOf(base);
    try {
      mknodat(parentFd, name, S_IFCHR, 0n);
      this.#count(0);
      return;
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") throw error;
    }
    const fd = tryOpenDirectory(parentFd, name);
    if (fd === undefined) return;
    try {
      LayerDirectories.setOpaque(fd);
    } finally {
      close(fd);
    }
  }

  #delete(parent: string, mark: WhiteoutMark): void {
    const parentFd = this.#directories.openParent(parent);
    if (mark.kind === "whiteout") this.#clear(parentFd, mark.name);
    if (mark.kind !== "opaque") return;
    for (const name of readdirSync(fdPath(parentFd), { encoding: "latin1" })) this.#clear(parentFd, name);
  }

  /** Runs `make`; if the place is taken, clears it and runs it again. */
  #create<T>(parentFd: number, base: string, make: () => T): T {
    try {
      return make();
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") throw error;
      this.#clear(parentFd, base);
      return make();
    }
  }

  #clear(parentFd: number, base: string): void {
    const gone = this.#directories.clear(parentFd, base);
    this.#usage.bytes -= roundUp(gone.bytes);
    this.#usage.inodes -= gone.inodes;
  }

  #count(bytes: number): void {
    this.#usage.bytes += roundUp(bytes);
    this.#usage.inodes++;
  }

  // The directory may have been replaced by a later entry: then its time is of no use.
  #setDirectoryTime(path: string, time: Timespec): void {
    if (path === "") return futimens(this.#rootFd, time, time);
    const { parent, base } = splitPath(path);
    const parentFd = this.#directories.find(parent);
    const fd = parentFd === undefined ? undefined : tryOpenDirectory(parentFd, pathNameOf(base));
    if (fd === undefined) return;
    try {
      futimens(fd, time, time);
    } finally {
      close(fd);
    }
  }
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / blockBytes) * blockBytes;
}

/** Undefined when `name` is missing or no directory; a symlink is none. */
function tryOpenDirectory(parentFd: number, name: PathName): number | undefined {
  try {
    return openat(parentFd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT" || errno === "ENOTDIR" || errno === "ELOOP") return undefined;
    throw error;
  }
}

function writeAll(fd: number, bytes: Uint8Array, position: number | null): void {
  for (let done = 0; done < bytes.length;) {
    const at = position === null ? null : position + done;
    done += writeSync(fd, bytes, done, bytes.length - done, at);
  }
}

/** Puts the next bytes of a sparse file's data where its map says. */
function writeSparse(file: OpenFile, bytes: Uint8Array, { segments }: SparseMap): void {
  for (let done = 0; done < bytes.length;) {
    const segment = segments[file.segment];
    if (segment === undefined) throw badArchive("sparse file has more data than its map");
    const length = Math.min(segment.length - file.offsetInSegment, bytes.length - done);
    writeAll(file.fd, bytes.subarray(done, done + length), segment.offset + file.offsetInSegment);
    done += length;
    file.offsetInSegment += length;
    if (file.offsetInSegment < segment.length) continue;
    file.segment++;
    file.offsetInSegment = 0;
  }
}

// Not process.umask(), which reads the mask by setting it to 0 for a moment, for all threads.
function readUmask(): number {
  const match = /^Umask:\s*([0-7]+)$/m.exec(readFileSync("/proc/self/status", "latin1"));
  return match?.[1] === undefined ? 0o777 : Number.parseInt(match[1], 8);
}

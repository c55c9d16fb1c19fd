// A container's root filesystem: the layers of its image under a writable one, as a detached mount that no path of the
// host ever shows.
import { rmdirSync } from "node:fs";
import { NamedLayers, cloneLayer } from "./overlay-layers.ts";
import { AT_FDCWD, close, fdPath, O_DIRECTORY, O_PATH, openat2 } from "../linux/files.ts";
import { setFileLabel } from "../linux/selinux.ts";
import { isAtLeast, kernelRelease } from "../linux/kernel-release.ts";
import {
  cloneMount,
  createMount,
  type FsOption,
  MNT_DETACH,
  mount,
  MOUNT_ATTR_RDONLY,
  setMountAttributes,
  umount,
} from "../linux/mount.ts";
import { CricketError, invalidArgument, wrapError } from "../base/errors.ts";
import { makeScratchPlace } from "./scratch-directory.ts";

export interface OverlaySource {
  /** Layer directories, bottom first, as an image lists them. */
  lowers: readonly string[];
  /** The writable layer and its work directory, on one filesystem; both or neither. */
  upper?: string;
  work?: string;
  /** MOUNT_ATTR_RDONLY on the mount; implied without `upper`. */
  readonly?: boolean;
  /**
   * A user namespace (nsfs descriptor) by which the ids of the layers are mapped. The writable layer is not mapped: what
   * is written there has the ids of the host, and so has to be its directory. `attach`: by way of directories, as kernels
   * before 6.15 need it, which take no detached mounts as layers; not given: as this one does.
   */
  idmap?: { userNamespace: number; attach?: boolean };
  /** Where kernels that need it get mounts attached for a moment; of the system if not given. */
  scratchDir?: string;
  /** SELinux label of everything in it; "" or absent: as the files have it. */
  label?: string;
}

/** How the layers are named to the kernel. Chosen by its release; tests choose themselves. */
export type OverlayMethod =
  /** One by one, Linux 6.7 and later: no limit of length. */
  | "append"
  /** One string of 255 bytes at most, in /proc/self/fd names. */
  | "string"
  /** mount(2) and its page of options, on a private directory that is left at once. */
  | "mount";

/** OVL_MAX_STACK of the kernel. */
const maxLowers = 500;

/** fsconfig(2) takes strings of this length at most. */
const maxFsconfigBytes = 255;

/** mount(2) takes one page of options. */
const maxMountDataBytes = 4095;

/**
 * index=off: an upper is not bound to the inodes of its lowers; the same layers are under many containers, and may be
 * pulled again. metacopy=off, redirect_dir=nofollow: neither is safe with lowers that others have written, and no
 * attribute of an image may redirect a lookup.
 */
const commonOptions = ["index=off", "metacopy=off", "redirect_dir=nofollow"] as const;

/**
 * volatile: the writable layer dies with its container and no container outlives a boot, so there is nothing that a
 * sync could save. Without it each unmount syncs the whole filesystem below, as long as that takes.
 */
const writableFlags = ["volatile"] as const;

/** Makes the mount and returns its descriptor; whoever holds it owns the mount. Throws invalid-argument and SyscallError. */
export function createOverlay(source: OverlaySource, method = methodFor(source)): number {
  const { lowers, upper, work } = source;
  if ((upper === undefined) !== (work === undefined))
    throw invalidArgument("overlay: upper without work, or work without upper");
  if (lowers.length > maxLowers)
    throw invalidArgument(`overlay: ${lowers.length} layers, the kernel takes ${maxLowers}`);
  const [single] = upper === undefined ? lowers : [upper];
  if (single === undefined) throw invalidArgument("overlay: no layers");
  // Overlayfs wants two directories at least.
  if (lowers.length + (upper === undefined ? 0 : 1) < 2) return bindOverlay(single, source);
  try {
    return mountBy(method, source);
  } catch (error) {
    throw wrapError(`overlay of ${lowers.length} layers`, error);
  }
}

function mountBy(method: OverlayMethod, source: OverlaySource): number {
  if (method === "append") return appendLowers(source);
  if (method === "string") return withDescriptors(source, nameInOneString);
  return withDescriptors(source, mountAndDetach);
}

/** Top first. */
function nameLayers(source: OverlaySource, nameOf: (path: string) => string): NamedLayers {
  const { lowers, scratchDir } = source;
  const idmap = source.idmap && { ...source.idmap, ...(scratchDir === undefined ? {} : { scratchDir }) };
  return new NamedLayers(lowers.toReversed(), idmap, nameOf);
}

function methodFor({ lowers }: OverlaySource): OverlayMethod {
  if (isAtLeast(kernelRelease(), 6, 7)) return "append";
  // Descriptors may have four digits.
  return lowers.length * "/proc/self/fd/1234:".length <= maxFsconfigBytes ? "string" : "mount";
}

function isReadonly({ upper, readonly }: OverlaySource): boolean {
  return upper === undefined || readonly === true;
}

/** A detached bind mount of one directory. */
function bindOverlay(directory: string, source: OverlaySource): number {
  const isLayer = source.upper === undefined;
  const fd = isLayer ? cloneLayer(directory, source.idmap) : cloneMount(AT_FDCWD, directory, false);
  try {
    // One directory is no filesystem of its own, which could have a label for all files.
    if (!isLayer && source.label !== undefined && source.label !== "") setFileLabel(fd, source.label);
    if (isReadonly(source)) setMountAttributes(fd, { set: MOUNT_ATTR_RDONLY }, false);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

function splitOption(option: string): FsOption {
  const at = option.indexOf("=");
  return [option.slice(0, at), option.slice(at + 1)];
}

function fixedOptions({ upper, label = "" }: OverlaySource): FsOption[] {
  const flags = upper === undefined ? [] : writableFlags.map((flag): FsOption => [flag, true]);
  const context: FsOption[] = label === "" ? [] : [["context", label]];
  return [["source", "overlay"], ...commonOptions.map(splitOption), ...flags, ...context];
}

function attributesOf(source: OverlaySource): number {
  return isReadonly(source) ? MOUNT_ATTR_RDONLY : 0;
}

/** Real paths where they fit, because they are what /proc/mounts shows; else by descriptor. */
function appendLowers(source: OverlaySource): number {
  const opened: number[] = [];
  const nameOf = (path: string): string => {
    // Overlayfs takes a backslash as an escape.
    if (Buffer.byteLength(path) <= maxFsconfigBytes && !path.includes("\\")) return path;
    const fd = openPath(path);
    opened.push(fd);
    return fdPath(fd);
  };
  try {
    using layers = nameLayers(source, nameOf);
    const options = layers.names.map((name, index): FsOption => {
      const fd = isAtLeast(kernelRelease(), 6, 13) ? layers.descriptors[index] : undefined;
      // A name would be shown in /proc/mounts, where programs look for "/proc".
      return ["lowerdir+", fd === undefined ? name : { fd }];
    });
    if (source.upper !== undefined) options.push(["upperdir", nameOf(source.upper)]);
    if (source.work !== undefined) options.push(["workdir", nameOf(source.work)]);
    return createMount("overlay", [...options, ...fixedOptions(source)], attributesOf(source));
  } finally {
    for (const fd of opened) close(fd);
  }
}

interface NamedDirectories {
  /** Top first, joined by colons. */
  lowerdir: string;
  upperdir?: string;
  workdir?: string;
}

/** Calls `use` with all directories open and named by descriptor: short, and free of colons and commas. */
function withDescriptors(
  source: OverlaySource,
  use: (names: NamedDirectories, source: OverlaySource) => number,
): number {
  const opened: number[] = [];
  const nameOf = (path: string): string => {
    const fd = openPath(path);
    opened.push(fd);
    return fdPath(fd);
  };
  try {
    const { upper, work } = source;
    using layers = nameLayers(source, nameOf);
    const names: NamedDirectories = { lowerdir: layers.names.join(":") };
    if (upper !== undefined) names.upperdir = nameOf(upper);
    if (work !== undefined) names.workdir = nameOf(work);
    return use(names, source);
  } finally {
    for (const fd of opened) close(fd);
  }
}

function openPath(path: string): number {
  return openat2(AT_FDCWD, path, { flags: O_PATH | O_DIRECTORY });
}

function nameInOneString(names: NamedDirectories, source: OverlaySource): number {
  if (names.lowerdir.length > maxFsconfigBytes)
    throw new CricketError("unimplemented", "more layers than this kernel takes in one string");
  const directories = Object.entries(names) as [string, string][];
  return createMount("overlay", [...directories, ...fixedOptions(source)], attributesOf(source));
}

function mountAndDetach(names: NamedDirectories, source: OverlaySource): number {
  const directories = Object.entries(names).map(([key, value]) => `${key}=${String(value)}`);
  const flags = source.upper === undefined ? [] : writableFlags;
  const { label = "" } = source;
  // Quoted, because a level has commas.
  const context = label === "" ? [] : [`context="${label}"`];
  const data = [...directories, ...commonOptions, ...flags, ...context].join(",");
  if (data.length > maxMountDataBytes)
    throw new CricketError("unimplemented", "more layers than mount(2) of this kernel takes");
  const place = makeScratchPlace(source.scratchDir);
  try {
    mount("overlay", place, "overlay", 0, data);
    try {
      return bindOverlay(place, { ...source, label: "" });
    } finally {
      umount(place, MNT_DETACH);
    }
  } finally {
    rmdirSync(place);
  }
}

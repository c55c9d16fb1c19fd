// Volumes that come out of images: whole images as read-only mounts (KEP-4639), and directories for the volumes that
// the container's own image declares.
import { chownSync, mkdirSync } from "node:fs";
import { join, posix } from "node:path";
import { CricketError, errnoOf, messageOf, wrapError } from "../base/errors.ts";
import type { ImageService } from "../image/image-service.ts";
import { close, O_PATH, openat2, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS } from "../linux/files.ts";
import { cloneMount } from "../linux/mount.ts";
import { setPathLabel } from "../linux/selinux.ts";
import type { LayerStore } from "../snapshot/layer-store.ts";
import { createOverlay } from "../snapshot/overlay.ts";
import { withAttached } from "../snapshot/attached-mount.ts";
import { cleanDestination } from "./build-mounts.ts";
import type { ContainerMount } from "./container-config.ts";

/** An image that is mounted into a container; kept in the record, so that it is not removed meanwhile. */
export interface ImageVolume {
  containerPath: string;
  imageId: string;
}

/** The kubelet looks for it at the start of the message (cri-api errors.go). */
const failedPrefix = "ImageVolumeMountFailed";

/** @throws CricketError not-found for an image that is not on this node: the kubelet pulls it before */
export function resolveImageVolumes(mounts: readonly ContainerMount[], images: ImageService): ImageVolume[] {
  return mounts.flatMap(({ containerPath, image }) => {
    if (image === undefined) return [];
    try {
      return [{ containerPath, imageId: images.resolveForContainer(image.reference).imageId }];
    } catch (error) {
      throw volumeError(containerPath, error);
    }
  });
}

export interface ImageVolumeParts {
  images: ImageService;
  layers: LayerStore;
  /** Of the pod, for idmapped mounts. */
  userNamespace: number | undefined;
  /** SELinux label of all that is in them; "": none. */
  label: string;
  /** Mounts are attached in there for a moment where the kernel needs it. */
  scratchDir: string;
}

/** Makes the detached mounts, by their places in the container. `own` takes over each descriptor as it is made. */
export function mountImageVolumes(
  volumes: readonly ImageVolume[],
  mounts: readonly ContainerMount[],
  parts: ImageVolumeParts,
  own: (fd: number) => number,
): Map<string, number> {
  const detached = new Map<string, number>();
  for (const { containerPath, imageId } of volumes) {
    const subPath = mounts.find((mount) => mount.containerPath === containerPath)?.image?.subPath ?? "";
    try {
      const fd = own(mountImage(imageId, subPath, parts));
      detached.set(cleanDestination(containerPath, "config.mounts.container_path"), fd);
    } catch (error) {
      throw volumeError(containerPath, error);
    }
  }
  return detached;
}

function mountImage(
  imageId: string,
  subPath: string,
  { images, layers, userNamespace, label, scratchDir }: ImageVolumeParts,
): number {
  const lowers = images.resolveForContainer(imageId).chainIds.map((chainId) => layers.path(chainId));
  if (lowers.length === 0) throw new CricketError("failed-precondition", `image ${imageId} has no layers`);
  const idmap = userNamespace === undefined ? {} : { idmap: { userNamespace } };
  const whole = createOverlay({ lowers, readonly: true, label, scratchDir, ...idmap });
  if (subPath === "") return whole;
  try {
    return cloneSubPath(whole, subPath, scratchDir);
  } finally {
    close(whole);
  }
}

// Resolved by the kernel inside the image: whatever its links say, nothing outside of it is reached.
function cloneSubPath(whole: number, subPath: string, scratchDir: string): number {
  const resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const clone = (root: number): number => {
    const found = openat2(root, subPath, { flags: O_PATH, resolve });
    try {
      return cloneMount(found, "", false);
    } finally {
      close(found);
    }
  };
  try {
    return clone(whole);
  } catch (error) {
    const errno = errnoOf(error);
    // A mount that is attached nowhere can be cloned from Linux 6.15 on.
    if (errno === "EINVAL") return withAttached(whole, scratchDir, clone);
    if (errno !== "ENOENT" && errno !== "ENOTDIR" && errno !== "ELOOP") throw error;
    throw new CricketError("not-found", `image_sub_path ${JSON.stringify(subPath)}: ${errno} in the image`, {
      cause: error,
    });
  }
}

function volumeError(containerPath: string, error: unknown): CricketError {
  const code = error instanceof CricketError ? error.code : "internal";
  return new CricketError(code, `${failedPrefix}: mount ${containerPath}: ${messageOf(error)}`, {
    cause: error,
  });
}

/** wrapError that keeps the prefix where the kubelet looks for it. */
export function wrapCreateError(doing: string, error: unknown): CricketError {
  const message = messageOf(error);
  const wrapped = wrapError(doing, error);
  if (!message.startsWith(`${failedPrefix}: `)) return wrapped;
  const rest = message.slice(failedPrefix.length + 2);
  return new CricketError(wrapped.code, `${failedPrefix}: ${doing}: ${rest}`, { cause: error });
}

/** What becomes of an image config's Volumes: a directory of the host, one in the rootfs, or nothing. */
export type ImageVolumePolicy = "bind" | "mkdir" | "ignore";

export interface DeclaredVolume {
  destination: string;
  /** A directory of the host. */
  source: string;
}

/**
 * Places of the container's own volumes: those that its image declares and no mount of the request takes. Dots in them
 * mean nothing above the root (CVE-2022-23648).
 */
export function declaredVolumes(declared: readonly string[], mounts: readonly ContainerMount[]): string[] {
  const taken = new Set(mounts.map((mount) => posix.resolve("/", mount.containerPath)));
  const places = declared.map((path) => posix.resolve("/", path));
  return [...new Set(places)].filter((place) => !taken.has(place) && !isSystemPath(place)).sort();
}

// Over these the runtime has put its own; a volume would uncover nothing and hide what every program needs.
const isSystemPath = (path: string): boolean => /^\/(?:$|(?:proc|sys|dev)(?:\/|$))/.test(path);

/** Makes a directory for each place below `root`, which goes with the container's writable layer. */
export function makeVolumeDirectories(
  places: readonly string[],
  root: string,
  { uid, gid, label }: { uid: number; gid: number; label: string },
): DeclaredVolume[] {
  return places.map((destination, index) => {
    const source = join(root, String(index));
    mkdirSync(source, { recursive: true, mode: 0o755 });
    chownSync(source, uid, gid);
    if (label !== "") setPathLabel(source, label);
    return { destination, source };
  });
}

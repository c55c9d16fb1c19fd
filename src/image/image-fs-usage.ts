// ImageFsInfo: what images and writable layers take on disk, from sums in memory.
import { statSync } from "node:fs";
import type { DiskUsage, LayerStore } from "../snapshot/layer-store.ts";
import type { BlobStore } from "./blob-store.ts";

export interface FilesystemUsage {
  /** A directory on the filesystem: the kubelet calls statfs on it. */
  mountpoint: string;
  usedBytes: number;
  inodesUsed: number;
}

export interface ImageFsUsage {
  images: FilesystemUsage;
  containers: FilesystemUsage;
}

export interface ImageFsParts {
  layers: LayerStore;
  blobs: BlobStore;
  layersRoot: string;
  containerLayersRoot: string;
  containerUsage: (() => DiskUsage) | undefined;
}

export function imageFsUsage(parts: ImageFsParts): ImageFsUsage {
  const { layers, blobs, layersRoot, containerLayersRoot } = parts;
  const sum = blobs.usage();
  for (const chainId of layers.list()) {
    const { bytes, inodes } = layers.usage(chainId);
    sum.bytes += bytes;
    sum.inodes += inodes;
  }
  const containers = parts.containerUsage?.() ?? { bytes: 0, inodes: 0 };
  // The kubelet takes different mount points for a split filesystem (KEP-4191) and then collects garbage otherwise.
  const isShared = statSync(layersRoot).dev === statSync(containerLayersRoot).dev;
  return {
    images: usageAt(layersRoot, sum),
    containers: usageAt(isShared ? layersRoot : containerLayersRoot, containers),
  };
}

function usageAt(mountpoint: string, { bytes, inodes }: DiskUsage): FilesystemUsage {
  return { mountpoint, usedBytes: bytes, inodesUsed: inodes };
}

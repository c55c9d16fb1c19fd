import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { filesystemToWire } from "../convert/image.ts";
import type { ImageUseCases } from "../services.ts";

/** One filesystem of each kind: without them the kubelet neither collects images nor evicts pods. */
export function imageFsInfo(images: ImageUseCases): v1.ImageFsInfoResponseSent {
  const timestampNs = BigInt(Date.now()) * 1_000_000n;
  const usage = images.fsInfo();
  return {
    imageFilesystems: [filesystemToWire(usage.images, timestampNs)],
    containerFilesystems: [filesystemToWire(usage.containers, timestampNs)],
  };
}

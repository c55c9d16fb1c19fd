import { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { EncodedMessage } from "../../../cri-api/services.ts";
import { inChunks } from "../encoded-list.ts";
import type { ImageUseCases } from "../services.ts";
import { listImages } from "./list-images.ts";

export function streamImages(
  images: ImageUseCases,
  request: v1.StreamImagesRequest,
): Iterable<EncodedMessage> {
  const { images: found } = listImages(images, request);
  return inChunks(found ?? [], (image) => [v1.Image.encode(image).finish()]);
}

import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { imageToWire } from "../convert/image.ts";
import type { ImageUseCases } from "../services.ts";

export function listImages(images: ImageUseCases, request: v1.ListImagesRequest): v1.ListImagesResponseSent {
  const reference = request.filter?.image?.image ?? "";
  const found = reference === "" ? images.list() : images.list(reference);
  return { images: found.map(imageToWire) };
}

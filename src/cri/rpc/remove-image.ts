import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { imageReference } from "../convert/filter.ts";
import type { ImageUseCases } from "../services.ts";

export async function removeImage(
  images: ImageUseCases,
  request: v1.RemoveImageRequest,
): Promise<v1.RemoveImageResponseSent> {
  await images.remove(imageReference(request.image, "image"));
  return {};
}

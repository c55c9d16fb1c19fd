import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { imageReference } from "../convert/filter.ts";
import { imageToWire } from "../convert/image.ts";
import { verboseInfo } from "../convert/verbose-info.ts";
import type { ImageUseCases } from "../services.ts";

/** An image that is not here is no error: the answer has no image then. */
export async function imageStatus(
  images: ImageUseCases,
  request: v1.ImageStatusRequest,
): Promise<v1.ImageStatusResponseSent> {
  const image = images.status(imageReference(request.image, "image"));
  if (image === undefined) return {};
  return { image: imageToWire(image), info: request.verbose ? await infoOf(images, image.id) : {} };
}

// crictl looks for the config under "imageSpec".
async function infoOf(images: ImageUseCases, id: string): Promise<Record<string, string>> {
  const config = await images.describe(id);
  if (config === undefined) return {};
  return verboseInfo("info", { imageSpec: JSON.parse(config) as unknown });
}

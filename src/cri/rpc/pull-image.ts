import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { Call } from "../call.ts";
import { imageReference } from "../convert/filter.ts";
import { authFromWire } from "../convert/image.ts";
import type { ImageUseCases } from "../services.ts";

/** `sandbox_config` is for per-namespace policies, which there are none of. */
export async function pullImage(
  images: ImageUseCases,
  request: v1.PullImageRequest,
  call: Call,
): Promise<v1.PullImageResponseSent> {
  const reference = imageReference(request.image, "image");
  const auth = authFromWire(request.auth);
  const { imageId } = await images.pull({
    reference,
    signal: call.signal,
    ...(auth === undefined ? {} : { auth }),
  });
  return { imageRef: imageId };
}

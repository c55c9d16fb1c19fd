import { invalidArgument } from "../../base/errors.ts";
import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { Call } from "../call.ts";
import { imageReference } from "../convert/filter.ts";
import { authFromWire } from "../convert/image.ts";
import type { ImageUseCases, NodeUseCases } from "../services.ts";

/** `sandbox_config` is for per-namespace policies, which there are none of. */
export async function pullImage(
  { images, node }: { images: ImageUseCases; node: NodeUseCases },
  request: v1.PullImageRequest,
  call: Call,
): Promise<v1.PullImageResponseSent> {
  const reference = imageReference(request.image, "image");
  // All handlers run the same images; one that does not exist is refused all the same (CRI ImageSpec.runtime_handler).
  const handler = request.image?.runtimeHandler ?? "";
  if (!node.hasHandler(handler))
    throw invalidArgument(`image.runtime_handler is ${JSON.stringify(handler)}: not configured`);
  const auth = authFromWire(request.auth);
  const { imageId } = await images.pull({
    reference,
    signal: call.signal,
    ...(auth === undefined ? {} : { auth }),
  });
  return { imageRef: imageId };
}

// runtime.v1.ImageService: which file answers which RPC.
import type { imageService } from "../../cri-api/services.ts";
import { sendEach } from "./encoded-list.ts";
import { imageFsInfo } from "./rpc/image-fs-info.ts";
import { imageStatus } from "./rpc/image-status.ts";
import { listImages } from "./rpc/list-images.ts";
import { pullImage } from "./rpc/pull-image.ts";
import { removeImage } from "./rpc/remove-image.ts";
import { streamImages } from "./rpc/stream-images.ts";
import type { Handlers } from "./server.ts";
import type { UseCases } from "./services.ts";

export function imageHandlers({ images, node }: UseCases): Handlers<typeof imageService> {
  return {
    ListImages: (request) => listImages(images, request),
    StreamImages: (request) => sendEach(streamImages(images, request)),
    ImageStatus: (request) => imageStatus(images, request),
    PullImage: (request, call) => pullImage({ images, node }, request, call),
    RemoveImage: (request) => removeImage(images, request),
    ImageFsInfo: () => imageFsInfo(images),
  };
}

// A pull that tells how far it is: cricket's own, since PullImage of the CRI is silent until its end.
import { toInt64 } from "../../../cri-api/int64.ts";
import type { v1 } from "../../../cri-api/cricket/v1/api.js";
import { messageOf } from "../../base/errors.ts";
import type { LayerProgress, PullProgress } from "../../image/pull-progress.ts";
import type { Call } from "../call.ts";
import { imageReference } from "../convert/filter.ts";
import type { ImageUseCases } from "../services.ts";

const intervalMs = 100;

/** One message at most every 100 ms with the state of all layers, and a last one with the image's id. */
export async function* pullImageProgress(
  images: ImageUseCases,
  request: v1.PullImageRequest,
  call: Call,
): AsyncGenerator<v1.PullImageProgressSent> {
  const layers = new Map<number, LayerProgress>();
  const { username, password } = request;
  const auth = { username, password, auth: "", serverAddress: "", identityToken: "", registryToken: "" };
  const pull = images
    .pull({
      reference: imageReference({ ...emptyImage, image: request.image }, "image"),
      signal: call.signal,
      onProgress: (progress) => collect(layers, progress),
      ...(username === "" && password === "" ? {} : { auth }),
    })
    .then(({ imageId }): PullEnd => ({ imageId }))
    .catch((error: unknown): PullEnd => ({ error }));
  let end: PullEnd | undefined;
  while (end === undefined) {
    end = await Promise.race([pull, elapsed(intervalMs)]);
    if (layers.size > 0) yield { layers: layersToWire(layers) };
  }
  if ("error" in end) throw end.error instanceof Error ? end.error : new Error(messageOf(end.error));
  yield { layers: layersToWire(layers), imageId: end.imageId };
}

type PullEnd = { imageId: string } | { error: unknown };

const emptyImage = { annotations: {}, userSpecifiedImage: "", runtimeHandler: "", imageRef: "" };

function elapsed(ms: number): Promise<undefined> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms, undefined);
  });
}

function collect(layers: Map<number, LayerProgress>, progress: PullProgress): void {
  if (progress.phase === "layers") for (const layer of progress.layers) layers.set(layer.index, layer);
  if (progress.phase === "layer") layers.set(progress.layer.index, progress.layer);
}

function layersToWire(layers: ReadonlyMap<number, LayerProgress>): v1.LayerProgressSent[] {
  return [...layers.values()].map((layer) => ({
    digest: layer.blobDigest,
    state: layer.state,
    doneBytes: toInt64(BigInt(layer.doneBytes)),
    totalBytes: toInt64(BigInt(layer.totalBytes)),
  }));
}

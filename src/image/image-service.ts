// Images as the rest of the daemon sees them: pulled, listed, looked up, removed.
import { CricketError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { DiskUsage, LayerStore } from "../snapshot/layer-store.ts";
import type { AuthConfig } from "./credentials.ts";
import type { ImageConfig } from "./image-config.ts";
import type { ImageView } from "./image-record.ts";
import type { PullListener } from "./pull-progress.ts";

export interface ImageServiceOptions {
  layers: LayerStore;
  log: Log;
  /** `<state>/images` and `<state>/blobs/sha256`. */
  imagesRoot: string;
  blobsRoot: string;
  /** Mount points reported by ImageFsInfo: the layers' and the writable layers' directories. */
  layersRoot: string;
  containerLayersRoot: string;
  registriesConf: string;
  policy: string;
  authFile: string;
  parallelLayers: number;
  /** 0 waits for ever. */
  stallTimeoutMs: number;
  /** References that kubelet's garbage collection must leave; a trailing `*` matches any rest. */
  pinned: string[];
  /** Sum over all writable layers, cheap; absent: counted as nothing. */
  containerUsage?: () => DiskUsage;
}

export interface PullRequest {
  reference: string;
  auth?: AuthConfig;
  onProgress?: PullListener;
  signal?: AbortSignal;
}

export interface FilesystemUsage {
  mountpoint: string;
  usedBytes: number;
  inodesUsed: number;
}

export interface ResolvedImage {
  imageId: string;
  /** Base first, as LayerStore.path wants them. */
  chainIds: string[];
  config: ImageConfig;
  /** ContainerStatus.image_ref: a repo digest, or the id where the image has none. */
  repoDigest: string;
  /** ContainerStatus.image.image: the tag asked for if there is one, else another tag, a repo digest or the id. */
  repoTag: string;
}

export class ImageService {
  /** Loads the records, drops what is broken, and sweeps blobs and layers that no record reaches. */
  static open(_options: ImageServiceOptions): Promise<ImageService> {
    throw pending();
  }

  /**
   * Pulls an image and resolves once it is durable. Calls for the same reference with the same credentials share one
   * execution, which ends early only when all of them were aborted.
   */
  pull(_request: PullRequest): Promise<{ imageId: string }> {
    throw pending();
  }

  /** All images, or with a reference the one it resolves to; an unknown reference gives an empty list. */
  list(_reference?: string): ImageView[] {
    throw pending();
  }

  /** The image behind an id, an id prefix, a tag, a repo digest or a short name; undefined when there is none. */
  status(_reference: string): ImageView | undefined {
    throw pending();
  }

  /** The image config as its registry served it (JSON text), for verbose answers. */
  describe(_reference: string): Promise<string | undefined> {
    throw pending();
  }

  /** Throws not-found when the image is not here. */
  resolveForContainer(_reference: string): ResolvedImage {
    throw pending();
  }

  /** Keeps `remove` from taking the image while a container is being made of it. Returns the release. */
  hold(_imageId: string): () => void {
    throw pending();
  }

  /**
   * Removes the image with all its tags. Unknown is success. Throws failed-precondition when `inUse` (image ids of
   * existing containers) names it or it is held.
   */
  remove(_reference: string, _inUse: ReadonlySet<string>): Promise<void> {
    throw pending();
  }

  fsInfo(): { images: FilesystemUsage; containers: FilesystemUsage } {
    throw pending();
  }
}

function pending(): CricketError {
  return new CricketError("unimplemented", "images are not there yet");
}

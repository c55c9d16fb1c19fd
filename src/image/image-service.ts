// Images as the rest of the daemon sees them: pulled, listed, looked up, removed.
import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { CricketError, notFound } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { DiskUsage, LayerStore } from "../snapshot/layer-store.ts";
import { BlobStore } from "./blob-store.ts";
import { ContentLeases } from "./content-leases.ts";
import type { AuthConfig } from "./credentials.ts";
import { printable } from "./digest.ts";
import { LayerFetcher } from "./fetch-layers.ts";
import type { ImageConfig } from "./image-config.ts";
import { imageFsUsage, type ImageFsUsage } from "./image-fs-usage.ts";
import { viewOf, type ImageRecord, type ImageView } from "./image-record.ts";
import { ImageStore } from "./image-store.ts";
import { hostPlatform } from "./manifest.ts";
import { PinnedImages } from "./pinned-images.ts";
import { PullFlights } from "./pull-flights.ts";
import { pullImage, type PullParts } from "./pull-image.ts";
import type { PullListener } from "./pull-progress.ts";
import { formatReference, repositoryOf, tryParseReference, type ImageReference } from "./reference.ts";
import { certificateRoots } from "./registry-certificates.ts";
import { candidateReferences, loadRegistriesConf, type RegistriesConf } from "./registries-conf.ts";
import { ImageHolds, removeImage } from "./remove-image.ts";
import { loadSignaturePolicy } from "./signature-policy.ts";
import { TokenCache } from "./token-cache.ts";

export type { FilesystemUsage } from "./image-fs-usage.ts";

export interface ImageServiceOptions {
  layers: LayerStore;
  log: Log;
  /** `<state>/images` and `<state>/blobs/sha256`. */
  imagesRoot: string;
  blobsRoot: string;
  /** Reported by ImageFsInfo: the layers' and the writable layers' directories. */
  layersRoot: string;
  containerLayersRoot: string;
  registriesConf: string;
  policy: string;
  authFile: string;
  parallelLayers: number;
  /** 0 waits for ever. */
  stallTimeoutMs: number;
  /** Directories with certificates per registry, certs.d(5); not given: the usual ones in /etc. */
  certificateRoots?: readonly string[];
  /** References that kubelet's garbage collection must leave; a `*` at either end matches anything. */
  pinned: readonly string[];
  /** Sum over all writable layers, cheap; absent: counted as nothing. */
  containerUsage?: () => DiskUsage;
}

export interface PullRequest {
  reference: string;
  auth?: AuthConfig;
  onProgress?: PullListener;
  signal?: AbortSignal;
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

const connectTimeoutMs = 15_000;
interface Parts {
  options: ImageServiceOptions;
  pull: PullParts;
  conf: RegistriesConf;
}

export class ImageService {
  readonly #options: ImageServiceOptions;
  readonly #pull: PullParts;
  readonly #flights = new PullFlights();
  readonly #holds = new ImageHolds();
  #pinned: PinnedImages;
  /** As of the last pull: it says what short names mean. */
  #conf: RegistriesConf;

  private constructor({ options, pull, conf }: Parts) {
    this.#options = options;
    this.#pull = pull;
    this.#conf = conf;
    this.#pinned = new PinnedImages(options.pinned);
  }

  /** In the place of the patterns so far. */
  setPinned(patterns: readonly string[]): void {
    this.#pinned = new PinnedImages(patterns);
  }

  /**
   * Loads the records, drops what is broken, and sweeps blobs and layers that no record reaches. Throws
   * invalid-argument for a broken registries.conf or policy.json: a daemon that ignored it could pull from anywhere.
   */
  static async open(options: ImageServiceOptions): Promise<ImageService> {
    const { layers, log, imagesRoot } = options;
    mkdirSync(options.containerLayersRoot, { recursive: true, mode: 0o700 });
    const conf = await loadRegistriesConf(options.registriesConf);
    await loadSignaturePolicy(options.policy);
    const blobs = new BlobStore(options.blobsRoot);
    const isComplete = ({ chainIds, id, manifestDigest }: ImageRecord): boolean =>
      chainIds.every((chainId) => layers.has(chainId)) && blobs.has(id) && blobs.has(manifestDigest);
    const images = new ImageStore(imagesRoot, log, isComplete);
    const keep = images.referenced();
    await Promise.all([layers.sweep(keep), blobs.sweep(keep)]);
    const leases = new ContentLeases({ layers, blobs, images });
    const { parallelLayers: parallel, stallTimeoutMs } = options;
    const fetcher = new LayerFetcher({ layers, leases, parallel, stallTimeoutMs });
    const authFiles = [options.authFile, join(homedir(), ".docker/config.json")];
    const certificates = options.certificateRoots ?? certificateRoots;
    const network = { authFiles, connectTimeoutMs, stallTimeoutMs, certificateRoots: certificates };
    const shared = { layers, blobs, images, leases, fetcher, log, ...network };
    return new ImageService({
      options,
      pull: { ...shared, tokens: new TokenCache(), platform: hostPlatform() },
      conf,
    });
  }

  /**
   * Pulls an image and resolves once it is durable. Calls for the same reference with the same credentials share one
   * execution, which ends early only when all of them were aborted. Errors: see pullImage.
   */
  async pull(request: PullRequest): Promise<{ imageId: string }> {
    const { reference: text, auth, onProgress, signal } = request;
    const caller = { onProgress, signal };
    const imageId = await this.#flights.run(flightKey(text, auth), caller, async (report, stop) => {
      const [conf, policy] = await Promise.all([
        loadRegistriesConf(this.#options.registriesConf),
        loadSignaturePolicy(this.#options.policy),
      ]);
      this.#conf = conf;
      return pullImage(this.#pull, { text, auth, conf, policy, report, signal: stop });
    });
    return { imageId };
  }

  /** All images, or with a reference the one it resolves to; an unknown reference gives an empty list. */
  list(reference = ""): ImageView[] {
    if (reference === "") return this.#pull.images.all().map((record) => this.#view(record));
    const found = this.#resolve(reference)?.record;
    return found === undefined ? [] : [this.#view(found)];
  }

  /** The image behind an id, an id prefix, a tag, a repo digest or a short name; undefined when there is none. */
  status(reference: string): ImageView | undefined {
    const found = this.#resolve(reference)?.record;
    return found === undefined ? undefined : this.#view(found);
  }

  /** The image config as its registry served it (JSON text), for verbose answers. */
  async describe(reference: string): Promise<string | undefined> {
    const found = this.#resolve(reference)?.record;
    return found === undefined ? undefined : (await this.#pull.blobs.get(found.id))?.toString("utf8");
  }

  /**
   * `userSpecified`: by which of the image's names the container knows it where `reference` is an id, as the kubelet's
   * is. Throws not-found when the image is not here, invalid-argument when an id prefix is ambiguous.
   */
  resolveForContainer(reference: string, userSpecified = ""): ResolvedImage {
    const found = this.#resolve(reference);
    if (found === undefined) throw notFound(`image ${printable(reference)} is not on this node`);
    const { record } = found;
    const asked = found.asked ?? this.#nameOf(record, userSpecified);
    this.#holds.assertStays(record.id);
    const repository = asked === undefined ? "" : repositoryOf(asked);
    const askedTag = asked === undefined ? "" : formatReference(asked);
    const repoDigest =
      record.repoDigests.find((name) => name.startsWith(`${repository}@`)) ?? record.repoDigests[0];
    const repoTag = record.repoTags.includes(askedTag) ? askedTag : record.repoTags[0];
    return {
      imageId: record.id,
      chainIds: [...record.chainIds],
      config: record.config,
      repoDigest: repoDigest ?? record.id,
      repoTag: repoTag ?? repoDigest ?? record.id,
    };
  }

  /**
   * Keeps `remove` from taking the image while a container is being made of it. Returns the release. Throws not-found
   * while the image is being removed.
   */
  hold(imageId: string): () => void {
    return this.#holds.take(imageId);
  }

  /**
   * Removes the image with all its tags. Unknown is success. Throws failed-precondition when `inUse` (image ids of
   * existing containers) names it or it is held.
   */
  async remove(reference: string, inUse: ReadonlySet<string>): Promise<void> {
    const found = this.#resolve(reference);
    if (found === undefined) return;
    const { images, leases } = this.#pull;
    await removeImage({ images, leases, holds: this.#holds }, found.record, inUse);
  }

  fsInfo(): ImageFsUsage {
    const { layers, layersRoot, containerLayersRoot, containerUsage } = this.#options;
    return imageFsUsage({ layers, blobs: this.#pull.blobs, layersRoot, containerLayersRoot, containerUsage });
  }

  #view(record: ImageRecord): ImageView {
    return viewOf(record, this.#pinned.matches([...record.repoTags, ...record.repoDigests]));
  }

  /** A name is preferred to an id of which it could be the beginning: "cafe" is the image of that name if there is one. */
  #resolve(text: string): { record: ImageRecord; asked?: ImageReference } | undefined {
    const { images } = this.#pull;
    for (const asked of candidates(this.#conf, text)) {
      const record = images.find(asked);
      if (record !== undefined) return { record, asked };
    }
    const record = images.findById(text);
    return record === undefined ? undefined : { record };
  }

  /** The reference that `text` stands for, if that is one of the image. */
  #nameOf(record: ImageRecord, text: string): ImageReference | undefined {
    return candidates(this.#conf, text).find((name) => this.#pull.images.find(name)?.id === record.id);
  }
}

function candidates(conf: RegistriesConf, text: string): ImageReference[] {
  const plain = tryParseReference(text);
  if (plain === undefined) return [];
  try {
    return [...candidateReferences(conf, text), plain];
  } catch (error) {
    // An alias or search registry that makes no reference of this name: pulls report it, lookups go on.
    if (error instanceof CricketError) return [plain];
    throw error;
  }
}

// One caller's credentials must not fetch an image for another's, so they are part of the key, as a digest.
function flightKey(text: string, auth: AuthConfig | undefined): string {
  const reference = tryParseReference(text);
  const name = reference === undefined ? text : formatReference(reference);
  return `${name} ${createHash("sha256")
    .update(JSON.stringify(auth ?? null))
    .digest("hex")}`;
}

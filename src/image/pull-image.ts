// One pull, from the text of a reference to a durable image.
import type { Log } from "../base/log.ts";
import { CricketError, messageOf } from "../base/errors.ts";
import { failpoint } from "../base/failpoint.ts";
import type { LayerStore } from "../snapshot/layer-store.ts";
import type { BlobStore } from "./blob-store.ts";
import { checkSignatures } from "./check-signatures.ts";
import type { ContentLeases } from "./content-leases.ts";
import type { AuthConfig } from "./credentials.ts";
import type { LayerFetcher } from "./fetch-layers.ts";
import { HttpTransport } from "./http-transport.ts";
import { imageRecordVersion, type ImageRecord } from "./image-record.ts";
import type { ImageSource } from "./image-source.ts";
import type { ImageStore } from "./image-store.ts";
import type { Platform } from "./manifest.ts";
import { openSource } from "./open-source.ts";
import type { LayerProgress, PullListener } from "./pull-progress.ts";
import { formatReference, repositoryOf, type ImageReference } from "./reference.ts";
import { candidateReferences, type RegistriesConf } from "./registries-conf.ts";
import {
  isRegistryUnavailable,
  registryUnavailable,
  throwIfAborted,
  wrapPullError,
} from "./registry-errors.ts";
import {
  fetchConfig,
  resolveManifest,
  type FetchedConfig,
  type ResolvedManifest,
} from "./resolve-manifest.ts";
import { requiredSignatures, type SignaturePolicy } from "./signature-policy.ts";
import type { TokenCache } from "./token-cache.ts";

export interface PullParts {
  layers: LayerStore;
  blobs: BlobStore;
  images: ImageStore;
  leases: ContentLeases;
  fetcher: LayerFetcher;
  tokens: TokenCache;
  log: Log;
  platform: Platform;
  authFiles: readonly string[];
  connectTimeoutMs: number;
  stallTimeoutMs: number;
  certificateRoots: readonly string[];
}

export interface Pull {
  text: string;
  auth: AuthConfig | undefined;
  conf: RegistriesConf;
  policy: SignaturePolicy | undefined;
  report: PullListener;
  signal: AbortSignal;
}

/**
 * Pulls the image and returns its id once everything of it is on disk. A failed pull leaves nothing. Throws
 * invalid-argument (reference, credentials), not-found, permission-denied, failed-precondition (an image that cannot
 * be used, wrong digests and lengths), cancelled, and code unknown with "RegistryUnavailable: " or
 * "SignatureValidationFailed: " in front, which the kubelet reads.
 */
export async function pullImage(parts: PullParts, pull: Pull): Promise<string> {
  const candidates = candidateReferences(pull.conf, pull.text);
  const { connectTimeoutMs, stallTimeoutMs, certificateRoots } = parts;
  const transport = new HttpTransport({ connectTimeoutMs, stallTimeoutMs, certificateRoots });
  const failures: CricketError[] = [];
  try {
    for (const reference of candidates) {
      try {
        return await pullReference(parts, pull, reference, transport);
      } catch (error) {
        failures.push(wrapPullError(`pull ${formatReference(reference)}`, error));
        throwIfAborted(pull.signal);
      }
    }
    throw summary(failures);
  } finally {
    await transport.close();
  }
}

async function pullReference(
  parts: PullParts,
  pull: Pull,
  reference: ImageReference,
  transport: HttpTransport,
): Promise<string> {
  const { conf, auth, signal, report } = pull;
  const signatures = requiredSignatures(pull.policy, reference);
  report({ phase: "resolving", reference: formatReference(reference) });
  const { tokens, authFiles, platform } = parts;
  const source = await openSource({ reference, auth, conf, authFiles, transport, tokens });
  // With signatures to check it is not enough that nothing has changed: they may have been withdrawn.
  const unchanged = signatures.length > 0 ? undefined : await findUnchanged(parts, reference, source, signal);
  if (unchanged !== undefined) {
    report({ phase: "done", imageId: unchanged });
    return unchanged;
  }
  const resolved = await resolveManifest(source, reference, platform, signal);
  const digests = [resolved.digest, resolved.topDigest];
  await checkSignatures({ source, reference, digests }, signatures, signal);
  // The registry was asked in any case: only it knows whether these credentials may have the image.
  const imageId =
    (await adoptKnown(parts, reference, resolved)) ??
    (await fetchImage(parts, pull, { reference, source, resolved }));
  report({ phase: "done", imageId });
  return imageId;
}

/** The image that has this name here already, if the registry still has the same under it: `imagePullPolicy: Always`. */
async function findUnchanged(
  { images }: PullParts,
  reference: ImageReference,
  source: ImageSource,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (images.find(reference) === undefined) return undefined;
  const target = reference.digest ?? reference.tag ?? "latest";
  const digest = await source.headManifest(target, signal);
  // Looked up only now: it may have been removed meanwhile.
  const known = images.find(reference);
  return known?.repoDigests.includes(`${repositoryOf(reference)}@${digest}`) === true ? known.id : undefined;
}

/** Gives the image a name more if all of it is here already. */
async function adoptKnown(
  { images, leases }: PullParts,
  reference: ImageReference,
  resolved: ResolvedManifest,
): Promise<string | undefined> {
  const known = images.get(resolved.manifest.config.digest);
  if (known === undefined) return undefined;
  // Taken before anything is awaited, so that a removal finds either the lease or no image to adopt.
  const release = leases.take({ chainIds: known.chainIds, blobs: [known.id, known.manifestDigest] });
  try {
    await images.put({ ...known, ...namesOf(reference, resolved), pulledAtMs: Date.now() });
    return known.id;
  } finally {
    await release();
  }
}

interface Target {
  reference: ImageReference;
  source: ImageSource;
  resolved: ResolvedManifest;
}

async function fetchImage(parts: PullParts, pull: Pull, target: Target): Promise<string> {
  const { blobs, images, leases } = parts;
  const { source, resolved } = target;
  const config = await fetchConfig(source, resolved, parts.platform, pull.signal);
  const imageId = resolved.manifest.config.digest;
  const content = {
    chainIds: config.layers.map(({ chainId }) => chainId),
    blobs: [imageId, resolved.digest],
  };
  const release = leases.take(content);
  try {
    await Promise.all(content.blobs.map((digest) => leases.settled(digest)));
    // All of them come to rest, whatever fails: a blob must not be written after the lease is gone.
    const work = [
      blobs.put(imageId, config.bytes),
      blobs.put(resolved.digest, resolved.bytes),
      fetchLayers(parts, pull, source, config),
    ];
    const failed = (await Promise.allSettled(work)).find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    throwIfAborted(pull.signal);
    failpoint("pull-image/layers");
    await images.put(recordOf(parts.layers, target, config));
    failpoint("pull-image/record");
    return imageId;
  } finally {
    await release();
  }
}

function fetchLayers(
  { fetcher }: PullParts,
  pull: Pull,
  source: ImageSource,
  config: FetchedConfig,
): Promise<void> {
  const { report, signal } = pull;
  const layers = config.layers.map(({ descriptor }, index): LayerProgress => {
    const { digest: blobDigest, sizeBytes: totalBytes } = descriptor;
    return { blobDigest, index, doneBytes: 0, totalBytes, state: "waiting" };
  });
  report({ phase: "layers", layers });
  return fetcher.fetch({
    source,
    layers: config.layers,
    signal,
    onLayer: (layer) => report({ phase: "layer", layer }),
  });
}

function recordOf(layers: LayerStore, { reference, resolved }: Target, config: FetchedConfig): ImageRecord {
  const chainIds = config.layers.map(({ chainId }) => chainId);
  const unpackedBytes = chainIds.reduce((sum, chainId) => sum + layers.usage(chainId).bytes, 0);
  return {
    version: imageRecordVersion,
    id: resolved.manifest.config.digest,
    ...namesOf(reference, resolved),
    manifestDigest: resolved.digest,
    chainIds,
    // The kubelet frees disk by this number: it is what the image takes on disk, not what came over the network.
    sizeBytes: unpackedBytes + config.bytes.length + resolved.bytes.length,
    created: config.document.created,
    pulledAtMs: Date.now(),
    config: config.document.config,
    annotations: resolved.manifest.annotations,
  };
}

function namesOf(
  reference: ImageReference,
  resolved: ResolvedManifest,
): Pick<ImageRecord, "repoTags" | "repoDigests" | "platformDigests"> {
  const repository = repositoryOf(reference);
  const isIndex = resolved.topDigest !== resolved.digest;
  return {
    // Pulled by digest, the tag beside it was never looked at.
    repoTags: reference.digest === undefined ? [`${repository}:${reference.tag ?? "latest"}`] : [],
    repoDigests: [`${repository}@${resolved.topDigest}`],
    platformDigests: isIndex ? [`${repository}@${resolved.digest}`] : [],
  };
}

function summary(failures: CricketError[]): CricketError {
  const [first] = failures;
  if (failures.length === 1 && first !== undefined) return first;
  const message = failures
    .map((failure) => messageOf(failure).replace(/^RegistryUnavailable: /, ""))
    .join("; ");
  if (failures.some(isRegistryUnavailable)) return registryUnavailable(message, failures.at(-1));
  return new CricketError(failures.at(-1)?.code ?? "internal", message, { cause: failures.at(-1) });
}

// From a reference to the one manifest of this platform, and from there to the image's config.
import { CricketError, notFound } from "../base/errors.ts";
import { chainIds } from "../snapshot/chain-id.ts";
import { verifyDigest } from "./digest.ts";
import type { ImageLayer } from "./fetch-layers.ts";
import { parseImageDocument, type ImageDocument } from "./image-config.ts";
import type { ImageSource } from "./image-source.ts";
import { choosePlatform, parseManifest, type Manifest, type Platform } from "./manifest.ts";
import type { ImageReference } from "./reference.ts";
import { configLimitBytes } from "./registry-client.ts";

export interface ResolvedManifest {
  /** Of what the reference names: an index or the manifest itself. */
  topDigest: string;
  digest: string;
  bytes: Buffer;
  manifest: Manifest;
}

export interface FetchedConfig {
  bytes: Buffer;
  document: ImageDocument;
  layers: ImageLayer[];
}

/** Indexes may name indexes; deeper than this is nobody's image. */
const indexDepthLimit = 3;

/** Throws what the source throws, and not-found for an image that has nothing for `platform`. */
export async function resolveManifest(
  source: ImageSource,
  reference: ImageReference,
  platform: Platform,
  signal: AbortSignal,
): Promise<ResolvedManifest> {
  let fetched = await source.fetchManifest(reference.digest ?? reference.tag ?? "latest", signal);
  const topDigest = fetched.digest;
  for (let depth = 0; depth <= indexDepthLimit; depth++) {
    const parsed = parseManifest(fetched.bytes, fetched.contentType);
    if (parsed.kind === "manifest")
      return { topDigest, digest: fetched.digest, bytes: fetched.bytes, manifest: parsed };
    const entry = choosePlatform(parsed, platform);
    if (entry === undefined) throw notFound(`the image has nothing for ${platformText(platform)}`);
    const child = await source.fetchManifest(entry.digest, signal);
    assertLength(child.bytes, entry.sizeBytes, `manifest ${entry.digest}`);
    // What the index calls it counts as much as what the registry calls it: they must agree.
    parseManifest(child.bytes, entry.mediaType);
    fetched = child;
  }
  throw new CricketError("failed-precondition", `indexes are nested deeper than ${indexDepthLimit}`);
}

/** Fetches and checks the config: its digest is the image id, its diff ids say what the layers must unpack to. */
export async function fetchConfig(
  source: ImageSource,
  { manifest }: ResolvedManifest,
  platform: Platform,
  signal: AbortSignal,
): Promise<FetchedConfig> {
  const { config, layers } = manifest;
  if (config.sizeBytes > configLimitBytes)
    throw new CricketError("resource-exhausted", `image config is larger than ${configLimitBytes} bytes`);
  const bytes = await source.fetchBlob(config.digest, configLimitBytes, signal);
  verifyDigest(bytes, config.digest, "image config");
  assertLength(bytes, config.sizeBytes, "image config");
  const document = parseImageDocument(bytes);
  assertPlatform(document, platform);
  const { diffIds } = document;
  if (diffIds.length !== layers.length)
    throw new CricketError(
      "failed-precondition",
      `image config has ${diffIds.length} diff ids for ${layers.length} layers`,
    );
  const chain = chainIds(diffIds);
  const imageLayers = layers.map((descriptor, index) => ({
    descriptor,
    diffId: diffIds[index] ?? "",
    chainId: chain[index] ?? "",
  }));
  return { bytes, document, layers: imageLayers };
}

// A manifest that is asked for directly is not chosen by platform: its config tells what it is for.
function assertPlatform({ os, architecture }: ImageDocument, platform: Platform): void {
  const fits = (given: string, wanted: string): boolean => given === "" || given === wanted;
  if (fits(os, platform.os) && fits(architecture, platform.architecture)) return;
  throw notFound(`the image is for ${os}/${architecture}, this node is ${platformText(platform)}`);
}

function assertLength(bytes: Buffer, sizeBytes: number, what: string): void {
  if (bytes.length !== sizeBytes)
    throw new CricketError(
      "failed-precondition",
      `${what} has ${bytes.length} bytes, not ${sizeBytes} as promised`,
    );
}

function platformText({ os, architecture, variant }: Platform): string {
  return variant === "" ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

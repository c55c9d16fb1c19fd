// Image manifests and indexes, OCI and Docker schema 2: parsed strictly, because a document that two readers
// understand differently lets an attacker show a harmless image to one and run another in the other.
import { CricketError } from "../base/errors.ts";
import type { LayerCompression } from "../snapshot/layer-store.ts";
import { isSha256Digest } from "../snapshot/chain-id.ts";
import { printable } from "./digest.ts";
import {
  isForeignLayerType,
  isImageConfigType,
  isIndexType,
  isManifestType,
  isSchema1Type,
  layerCompressionOf,
  ociIndex,
  ociManifest,
} from "./media-types.ts";

export interface Descriptor {
  mediaType: string;
  digest: string;
  sizeBytes: number;
}

export interface LayerDescriptor extends Descriptor {
  compression: LayerCompression;
}

export interface Manifest {
  kind: "manifest";
  config: Descriptor;
  /** Base first. */
  layers: LayerDescriptor[];
  annotations: Record<string, string>;
}

export interface Platform {
  os: string;
  architecture: string;
  variant: string;
}

export interface IndexEntry extends Descriptor {
  platform: Platform | undefined;
}

export interface Index {
  kind: "index";
  entries: IndexEntry[];
}

/** overlayfs takes no more lower directories than this. */
const layerCountLimit = 500;

const exactKeys = new Set([
  "config",
  "layers",
  "manifests",
  "mediatype",
  "fslayers",
  "mediaType",
  "fsLayers",
]);

type Json = Record<string, unknown>;

/**
 * Parses a manifest or index. `contentType` is what the registry or the descriptor called it; "" when nothing did.
 * Throws failed-precondition that names the property.
 */
export function parseManifest(bytes: Uint8Array, contentType: string): Manifest | Index {
  const document = parseJson(bytes);
  const type = agreedType(document, contentType);
  if (isSchema1Type(type) || document["schemaVersion"] === 1)
    throw bad("Docker schema 1 is not supported: push the image again with a current tool");
  if (document["schemaVersion"] !== 2)
    throw bad(`schemaVersion is ${printable(document["schemaVersion"])}, not 2`);
  const shape = shapeOf(document);
  if (isManifestType(type) && shape !== "index") return parseImageManifest(document);
  if (isIndexType(type) && shape !== "manifest") return parseIndex(document);
  throw bad(`media type ${printable(type)} does not fit the content`);
}

/**
 * What the keys make of a document. One that has the keys of both is a manifest to one reader and an index to the next
 * (CVE-2021-41190, GHSA-5j5w-g665-5m35). Go's decoder ignores the case of keys, so "Layers" would be seen there and
 * missed here.
 */
function shapeOf(document: Json): "manifest" | "index" | "neither" {
  for (const key of Object.keys(document))
    if (!exactKeys.has(key) && exactKeys.has(key.toLowerCase()))
      throw bad(`${printable(key)} is written in another case`);
  const isManifest = "config" in document || "layers" in document || "fsLayers" in document;
  const isIndex = "manifests" in document;
  if (isManifest && isIndex) throw bad("both layers and manifests: it is ambiguous");
  if (isManifest) return "manifest";
  return isIndex ? "index" : "neither";
}

/** The entry for the platform, or undefined. A better fitting variant wins, then the first in order. */
export function choosePlatform(index: Index, wanted: Platform): IndexEntry | undefined {
  let best: { entry: IndexEntry; rank: number } | undefined;
  for (const entry of index.entries) {
    const rank = rankOf(entry, wanted, index.entries.length === 1);
    if (rank > (best?.rank ?? 0)) best = { entry, rank };
  }
  return best?.entry;
}

/** The platform of this process in the words of image indexes (Go's GOOS and GOARCH). */
export function hostPlatform(arch: string = process.arch): Platform {
  const known: Record<string, [string, string]> = {
    x64: ["amd64", ""],
    arm64: ["arm64", "v8"],
    arm: ["arm", "v7"],
    ia32: ["386", ""],
    ppc64: ["ppc64le", ""],
  };
  const [architecture, variant] = known[arch] ?? [arch, ""];
  return { os: "linux", architecture, variant };
}

/** The media type that the document and its transport agree on. */
function agreedType(document: Json, contentType: string): string {
  const inside = document["mediaType"] ?? "";
  if (typeof inside !== "string") throw bad(`mediaType is ${printable(inside)}`);
  const given = contentType.replace(/;.*$/s, "").trim().toLowerCase();
  // A registry of plain files sends application/json or nothing, which says nothing.
  const outside = given.startsWith("application/vnd.") ? given : "";
  if (inside !== "" && outside !== "" && inside !== outside)
    throw bad(`the registry calls it ${printable(outside)}, it calls itself ${printable(inside)}`);
  if (inside !== "" || outside !== "") return inside || outside;
  // mediaType is optional in OCI documents.
  return "manifests" in document ? ociIndex : ociManifest;
}

function parseImageManifest(document: Json): Manifest {
  const config = parseDescriptor(document["config"], "config");
  if (!isImageConfigType(config.mediaType))
    throw bad(`config.mediaType is ${printable(config.mediaType)}: not an image that can be run`);
  const layers = list(document["layers"], "layers");
  if (layers.length > layerCountLimit) throw bad(`${layers.length} layers are more than ${layerCountLimit}`);
  return {
    kind: "manifest",
    config,
    layers: layers.map((layer, index) => parseLayer(layer, `layers[${index}]`)),
    annotations: parseAnnotations(document["annotations"]),
  };
}

function parseLayer(value: unknown, name: string): LayerDescriptor {
  const descriptor = parseDescriptor(value, name);
  const { mediaType } = descriptor;
  if (isForeignLayerType(mediaType))
    throw bad(`${name} is a foreign layer (${printable(mediaType)}), which is refused`);
  if (mediaType.endsWith("+encrypted")) throw bad(`${name} is encrypted, which is not supported`);
  const compression = layerCompressionOf(mediaType);
  if (compression === undefined)
    throw bad(`${name}.mediaType is ${printable(mediaType)}, not a known layer type`);
  return { ...descriptor, compression };
}

function parseIndex(document: Json): Index {
  const entries = list(document["manifests"], "manifests").map((value, index) => {
    const name = `manifests[${index}]`;
    return {
      ...parseDescriptor(value, name),
      platform: parsePlatform(object(value, name)["platform"], name),
    };
  });
  return { kind: "index", entries };
}

function parsePlatform(value: unknown, name: string): Platform | undefined {
  if (value === undefined || value === null) return undefined;
  const platform = object(value, `${name}.platform`);
  const field = (key: string): string => {
    const text = platform[key] ?? "";
    if (typeof text === "string") return text;
    throw bad(`${name}.platform.${key} is ${printable(text)}, not a string`);
  };
  return { os: field("os"), architecture: field("architecture"), variant: field("variant") };
}

function parseDescriptor(value: unknown, name: string): Descriptor {
  const descriptor = object(value, name);
  const { mediaType, digest, size } = descriptor;
  if (typeof mediaType !== "string") throw bad(`${name}.mediaType is ${printable(mediaType)}, not a string`);
  if (typeof digest !== "string" || !isSha256Digest(digest))
    throw bad(`${name}.digest is ${printable(digest)}, not a sha256 digest`);
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
    throw bad(`${name}.size is ${printable(size)}, not a size`);
  return { mediaType, digest, sizeBytes: size };
}

function parseAnnotations(value: unknown): Record<string, string> {
  const annotations = object(value ?? {}, "annotations");
  for (const [key, text] of Object.entries(annotations))
    if (typeof text !== "string") throw bad(`annotations[${printable(key)}] is not a string`);
  return annotations as Record<string, string>;
}

// 0: not for this platform.
function rankOf({ mediaType, platform }: IndexEntry, wanted: Platform, isOnly: boolean): number {
  if (!isManifestType(mediaType) && !isIndexType(mediaType)) return 0;
  if (platform === undefined) return isOnly ? 1 : 0;
  if (platform.os !== wanted.os || platform.architecture !== wanted.architecture) return 0;
  if (platform.variant === wanted.variant) return 4;
  if (platform.variant === "" || (wanted.architecture === "amd64" && platform.variant === "v1")) return 3;
  // A later variant is an instruction set that this machine may lack; an earlier one runs, the less old the better.
  const [number, wantedNumber] = [variantNumber(platform.variant), variantNumber(wanted.variant)];
  return number < wantedNumber ? 2 + number / wantedNumber / 2 : 0;
}

/** 7 for "v7"; NaN for what is no such number, which compares to nothing. */
function variantNumber(variant: string): number {
  return /^v\d{1,2}$/.test(variant) ? Number(variant.slice(1)) : Number.NaN;
}

function parseJson(bytes: Uint8Array): Json {
  try {
    return object(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)), "the document");
  } catch (error) {
    if (error instanceof CricketError) throw error;
    throw new CricketError("failed-precondition", "manifest: not JSON in UTF-8", { cause: error });
  }
}

function object(value: unknown, name: string): Json {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw bad(`${name} is ${printable(value)}, not an object`);
}

function list(value: unknown, name: string): unknown[] {
  if (Array.isArray(value)) return value;
  throw bad(`${name} is ${printable(value)}, not a list`);
}

function bad(why: string): CricketError {
  return new CricketError("failed-precondition", `manifest: ${why}`);
}

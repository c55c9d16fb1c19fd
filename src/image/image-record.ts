// What the image store keeps of an image, and what it shows of it.
import { imageUser, type ImageConfig } from "./image-config.ts";

export const imageRecordVersion = 1;

/** `<images root>/<hex of the config digest>.json`. */
export interface ImageRecord {
  version: number;
  /** The digest of the image config, "sha256:<hex>": the image id everywhere in the CRI. */
  id: string;
  /** "docker.io/library/busybox:1.36". Empty after a pull by digest, or once another image took the tag. */
  repoTags: string[];
  /** "docker.io/library/busybox@sha256:<hex>": the digest of what the reference named, an index or a manifest. */
  repoDigests: string[];
  /** Like repoDigests, for the platform's manifest where the reference named an index. */
  platformDigests: string[];
  manifestDigest: string;
  /** Base first. */
  chainIds: string[];
  /** The unpacked layers and the two documents: what removing the image alone would free at most. Above 0. */
  sizeBytes: number;
  /** The image's own claim, RFC 3339; "" when it makes none. */
  created: string;
  /** Milliseconds since the epoch of the last pull: decides between two records that a crash left with one tag. */
  pulledAtMs: number;
  config: ImageConfig;
  annotations: Record<string, string>;
}

/** The image as ListImages and ImageStatus show it. */
export interface ImageView {
  id: string;
  repoTags: string[];
  repoDigests: string[];
  sizeBytes: number;
  /** At most one of uid and username is there: USER of the image, if it is a number or a name. */
  uid?: number;
  username: string;
  pinned: boolean;
  annotations: Record<string, string>;
}

export function viewOf(record: ImageRecord, pinned: boolean): ImageView {
  return {
    id: record.id,
    repoTags: [...record.repoTags],
    repoDigests: [...record.repoDigests],
    sizeBytes: record.sizeBytes,
    ...imageUser(record.config.user),
    pinned,
    annotations: { ...record.annotations },
  };
}

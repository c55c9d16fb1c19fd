// Media types of manifests, indexes, configs and layers: OCI image-spec media-types.md and Docker's schema 2.
import type { LayerCompression } from "../snapshot/layer-store.ts";

export const ociManifest = "application/vnd.oci.image.manifest.v1+json";
export const ociIndex = "application/vnd.oci.image.index.v1+json";
const dockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
const dockerList = "application/vnd.docker.distribution.manifest.list.v2+json";

/** Accept of a manifest request: what this client can read. */
export const manifestAccept = [ociIndex, ociManifest, dockerList, dockerManifest].join(", ");

export function isManifestType(type: string): boolean {
  return type === ociManifest || type === dockerManifest;
}

export function isIndexType(type: string): boolean {
  return type === ociIndex || type === dockerList;
}

/** Docker's first format: signed, without an image config, long abandoned. */
export function isSchema1Type(type: string): boolean {
  return /^application\/vnd\.docker\.distribution\.manifest\.v1\+(json|prettyjws)$/.test(type);
}

export function isImageConfigType(type: string): boolean {
  return (
    type === "application/vnd.oci.image.config.v1+json" ||
    type === "application/vnd.docker.container.image.v1+json"
  );
}

const layerTypes: ReadonlyMap<string, LayerCompression> = new Map([
  ["application/vnd.oci.image.layer.v1.tar", "none"],
  ["application/vnd.oci.image.layer.v1.tar+gzip", "gzip"],
  ["application/vnd.oci.image.layer.v1.tar+zstd", "zstd"],
  ["application/vnd.docker.image.rootfs.diff.tar", "none"],
  ["application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip"],
  ["application/vnd.docker.image.rootfs.diff.tar.zstd", "zstd"],
]);

/** How a layer of this type is compressed; undefined for a type that cannot be unpacked here. */
export function layerCompressionOf(type: string): LayerCompression | undefined {
  return layerTypes.get(type);
}

/** Layers that registries must not serve: their bytes come from URLs of the manifest's choice (CVE-2020-15157). */
export function isForeignLayerType(type: string): boolean {
  return type.includes(".nondistributable.") || type.includes(".foreign.");
}

// Images and filesystem usage as the ImageService shows them.
import type { AuthConfig } from "../../image/credentials.ts";
import type { ImageView } from "../../image/image-record.ts";
import type { FilesystemUsage } from "../../image/image-service.ts";
import { toInt64 } from "../../../cri-api/int64.ts";
import type { v1 } from "../../../cri-api/runtime/v1/api.js";

export function imageToWire(image: ImageView): v1.ImageSent {
  return {
    id: image.id,
    repoTags: image.repoTags,
    repoDigests: image.repoDigests,
    size: toInt64(BigInt(image.sizeBytes)),
    ...(image.uid === undefined ? {} : { uid: { value: toInt64(BigInt(image.uid)) } }),
    username: image.username,
    spec: { image: image.id, annotations: image.annotations },
    pinned: image.pinned,
  };
}

/** Undefined when nothing is given: the node's own credentials are used then. */
export function authFromWire(wire: v1.AuthConfig | null | undefined): AuthConfig | undefined {
  if (wire === null || wire === undefined) return undefined;
  const { username, password, auth, serverAddress, identityToken, registryToken } = wire;
  if (`${username}${password}${auth}${identityToken}${registryToken}` === "") return undefined;
  return { username, password, auth, serverAddress, identityToken, registryToken };
}

export function filesystemToWire(usage: FilesystemUsage, timestampNs: bigint): v1.FilesystemUsageSent {
  return {
    timestamp: toInt64(timestampNs),
    fsId: { mountpoint: usage.mountpoint },
    usedBytes: { value: toInt64(BigInt(usage.usedBytes)) },
    inodesUsed: { value: toInt64(BigInt(usage.inodesUsed)) },
  };
}

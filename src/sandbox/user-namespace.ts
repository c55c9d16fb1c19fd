// The user namespace of a pod, as far as ids go: CRI NamespaceOption.userns_options.
import type { IdMapping } from "../oci/linux-spec.ts";
import { hostIdOf } from "../oci/user-namespace.ts";
import type { IdMapping as CriMapping, NamespaceOptions } from "./sandbox-config.ts";

export interface PodIdMaps {
  uids: IdMapping[];
  gids: IdMapping[];
}

/** Undefined for pods in the host's user namespace. */
export function podIdMaps({ user }: Pick<NamespaceOptions, "user">): PodIdMaps | undefined {
  if (user?.mode !== "pod") return undefined;
  return { uids: user.uids.map(toSpec), gids: user.gids.map(toSpec) };
}

function toSpec({ containerId, hostId, length }: CriMapping): IdMapping {
  return { containerID: containerId, hostID: hostId, size: length };
}

/** Ids of the host; those that a pod does not map are its root's. */
export function toHostIds(
  maps: PodIdMaps | undefined,
  { uid, gid }: { uid: number; gid: number },
): { uid: number; gid: number } {
  if (maps === undefined) return { uid, gid };
  const { uids, gids } = maps;
  return {
    uid: hostIdOf(uids, uid) ?? hostIdOf(uids, 0) ?? 0,
    gid: hostIdOf(gids, gid) ?? hostIdOf(gids, 0) ?? 0,
  };
}

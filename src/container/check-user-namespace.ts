// A container's user namespace is its pod's: all that the CRI lets a container say is the same once more.
import { invalidArgument } from "../base/errors.ts";
import { sameMappings } from "../oci/user-namespace.ts";
import type { NamespaceOptions, SandboxConfig } from "../sandbox/sandbox-config.ts";
import { podIdMaps, type PodIdMaps } from "../sandbox/user-namespace.ts";
import type { ContainerConfig, ContainerMount } from "./container-config.ts";

const field = "config.linux.security_context.namespace_options.userns_options";

/** @throws CricketError invalid-argument for another user namespace than the sandbox's, and for what it excludes */
export function checkUserNamespace(sandbox: SandboxConfig, { security, mounts }: ContainerConfig): void {
  if (!isSame(sandbox.security.namespaces, security.namespaces))
    throw invalidArgument(`${field} is not the same as that of the sandbox`);
  const maps = podIdMaps(security.namespaces);
  for (const [index, mount] of mounts.entries())
    if (mount.image !== undefined && !isMappedAs(mount, maps))
      throw invalidArgument(
        `config.mounts[${index}].uidMappings: an image is mapped as the pod's user namespace is`,
      );
  if (maps === undefined) return;
  const both = mounts.findIndex(({ propagation }) => propagation === "bidirectional");
  // mount_namespaces(7): what a less privileged mount namespace mounts never travels to a more privileged one.
  if (both !== -1)
    throw invalidArgument(
      `config.mounts[${both}].propagation is PROPAGATION_BIDIRECTIONAL: not possible in a pod with a user namespace`,
    );
}

function isMappedAs({ uidMappings, gidMappings }: ContainerMount, maps: PodIdMaps | undefined): boolean {
  if (uidMappings.length + gidMappings.length === 0) return true;
  const own = podIdMaps({ user: { mode: "pod", uids: uidMappings, gids: gidMappings } });
  return own !== undefined && maps !== undefined && isSameMaps(own, maps);
}

function isSameMaps(a: PodIdMaps, b: PodIdMaps): boolean {
  return sameMappings(a.uids, b.uids) && sameMappings(a.gids, b.gids);
}

function isSame(a: NamespaceOptions, b: NamespaceOptions): boolean {
  const [first, second] = [podIdMaps(a), podIdMaps(b)];
  if (first === undefined || second === undefined) return first === second;
  return isSameMaps(first, second);
}

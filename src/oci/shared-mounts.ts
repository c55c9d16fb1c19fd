import { MS_SHARED } from "../linux/mount.ts";
import { propagationFlags } from "./mount-options.ts";
import type { Spec } from "./spec.ts";

/** True where some mount, or the rootfs itself, is to be a peer of a mount of the host. */
export function wantsSharedMounts(spec: Spec): boolean {
  const flags = [
    propagationFlags(spec.linux?.rootfsPropagation ?? "private"),
    ...(spec.mounts ?? []).map(({ options }) => lastPropagation(options ?? [])),
  ];
  return flags.some((flag) => (flag & MS_SHARED) !== 0);
}

function lastPropagation(options: readonly string[]): number {
  return options.some((option) => option === "shared" || option === "rshared") ? MS_SHARED : 0;
}

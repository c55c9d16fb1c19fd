// Versions of the CNI specification, as plugins and configurations name them.
import { invalidArgument } from "../../base/errors.ts";

/** What this project speaks, oldest first. 0.1.0 and 0.2.0 have results of another shape and are refused. */
export const supportedVersions = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
export type CniVersion = (typeof supportedVersions)[number];

export function isSupportedVersion(text: string): text is CniVersion {
  return (supportedVersions as readonly string[]).includes(text);
}

/** True when `version` is `least` or a later one. */
export function atLeast(version: CniVersion, least: CniVersion): boolean {
  return supportedVersions.indexOf(version) >= supportedVersions.indexOf(least);
}

const versionPattern = /^\d{1,4}\.\d{1,4}\.\d{1,4}$/;

/**
 * The versions a configuration can be used with, oldest first: those of `cniVersion` and `cniVersions` that this
 * project speaks (CNI 1.1, section 1, "Version considerations"). Unknown later versions are passed over.
 * @throws invalid-argument for text that is no version, and where none is left
 */
export function usableVersions(named: readonly string[]): CniVersion[] {
  for (const version of named)
    if (!versionPattern.test(version))
      throw invalidArgument(`cniVersion ${JSON.stringify(version)} is not a version`);
  const usable = supportedVersions.filter((version) => named.includes(version));
  if (usable.length === 0)
    throw invalidArgument(
      `cniVersion ${named.join(", ") || '""'} is not supported: ${supportedVersions.join(", ")} are`,
    );
  return usable;
}

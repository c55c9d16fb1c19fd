// What the security contexts of sandboxes and containers have in common.
import { invalidArgument } from "../../base/errors.ts";
import type { SecurityProfile, SelinuxOptions } from "../../sandbox/sandbox-config.ts";
import { fromInt64 } from "../../../cri-api/int64.ts";
import { v1, type Int64 } from "../../../cri-api/runtime/v1/api.js";
import { absolutePath, each, enumChoice, integerWithin, nonEmpty, singleLine } from "./field.ts";

// Ids above 2^31 - 1 have been read as negative or wrapped to 0, which is root (CVE-2024-40635).
const idRange = { min: 0n, max: 2_147_483_647n };

/** A user or group id; undefined when the field is absent, which is not the same as 0. */
function optionalId(wire: v1.Int64Value | null | undefined, at: string): number | undefined {
  if (wire === null || wire === undefined) return undefined;
  return integerWithin(fromInt64(wire.value), idRange, `${at}.value`);
}

export interface RunAs {
  runAsUser?: number;
  runAsGroup?: number;
}

/** run_as_user and run_as_group; a group alone is an error by the CRI, a user name does as a user. */
export function runAs(
  wire: { runAsUser?: v1.Int64Value | null; runAsGroup?: v1.Int64Value | null },
  username: string,
  at: string,
): RunAs {
  const user = optionalId(wire.runAsUser, `${at}.run_as_user`);
  const group = optionalId(wire.runAsGroup, `${at}.run_as_group`);
  if (group !== undefined && user === undefined && username === "")
    throw invalidArgument(`${at}.run_as_group is given without run_as_user`);
  return {
    ...(user === undefined ? {} : { runAsUser: user }),
    ...(group === undefined ? {} : { runAsGroup: group }),
  };
}

export function supplementalGroups(wire: readonly Int64[], at: string): number[] {
  return each(wire, at, (id, where) => integerWithin(fromInt64(id), idRange, where));
}

export function groupsPolicy(wire: number, at: string): "merge" | "strict" {
  const choices = { Merge: "merge", Strict: "strict" } as const;
  return enumChoice(wire, v1.SupplementalGroupsPolicy, choices, at);
}

/** Where the profile is read from: the current field, or the deprecated text of clients before 1.22. */
export interface ProfileSource {
  profile: v1.SecurityProfile | null | undefined;
  deprecated: string;
  at: string;
  deprecatedAt: string;
}

/** A seccomp profile; `localhost` refers to it by absolute path. Undefined: not given. */
export function seccompProfile(source: ProfileSource): SecurityProfile | undefined {
  const profile = profileFromWire(source);
  if (profile?.type === "localhost") {
    const fromText = source.profile === null || source.profile === undefined;
    absolutePath(profile.ref, fromText ? source.deprecatedAt : `${source.at}.localhost_ref`);
  }
  return profile;
}

/** An AppArmor profile; `localhost` refers to it by the name it is loaded under. Undefined: not given. */
export function apparmorProfile(source: ProfileSource): SecurityProfile | undefined {
  const profile = profileFromWire(source);
  // Clients that moved to the new field left the prefix of the old one in it.
  if (profile?.type === "localhost" && profile.ref.startsWith(localhostPrefix))
    return { type: "localhost", ref: nonEmpty(profile.ref.slice(localhostPrefix.length), source.at) };
  return profile;
}

const localhostPrefix = "localhost/";

function profileFromWire(source: ProfileSource): SecurityProfile | undefined {
  const { profile, deprecated, at, deprecatedAt } = source;
  if (profile === null || profile === undefined) return profileFromText(deprecated, deprecatedAt);
  const choices = {
    RuntimeDefault: "runtime-default",
    Unconfined: "unconfined",
    Localhost: "localhost",
  } as const;
  const type = enumChoice(profile.profileType, v1.SecurityProfile.ProfileType, choices, `${at}.profile_type`);
  if (type === "localhost")
    return {
      type,
      ref: singleLine(nonEmpty(profile.localhostRef, `${at}.localhost_ref`), `${at}.localhost_ref`),
    };
  if (profile.localhostRef !== "")
    throw invalidArgument(`${at}.localhost_ref is given, but profile_type is not Localhost`);
  return { type };
}

function profileFromText(value: string, at: string): SecurityProfile | undefined {
  if (value === "") return undefined;
  if (value === "unconfined") return { type: "unconfined" };
  if (value === "runtime/default" || value === "docker/default") return { type: "runtime-default" };
  if (value.startsWith(localhostPrefix) && value.length > localhostPrefix.length)
    return { type: "localhost", ref: singleLine(value.slice(localhostPrefix.length), at) };
  throw invalidArgument(`${at} is ${JSON.stringify(value)}: not a profile`);
}

export function selinuxOptions(
  wire: v1.SELinuxOption | null | undefined,
  at: string,
): SelinuxOptions | undefined {
  if (wire === null || wire === undefined) return undefined;
  const { user, role, type, level } = wire;
  for (const [name, value] of Object.entries({ user, role, type, level })) singleLine(value, `${at}.${name}`);
  return { user, role, type, level };
}

// The seccomp filter of pause: the profile that the sandbox itself asks for. The kubelet asks for RuntimeDefault in every
// pod (kubernetes#84623), whatever its containers get.
import { invalidArgument, wrapError } from "../base/errors.ts";
import { hasLibseccomp } from "../linux/seccomp.ts";
import { compileSeccomp } from "../oci/compile-seccomp.ts";
import type { SeccompFilter } from "../oci/container-launch.ts";
import {
  readSeccompProfile,
  resolveSeccompProfile,
  type ProfileContext,
  type SeccompProfile,
} from "../oci/seccomp-profile.ts";
import type { SandboxSecurity } from "./sandbox-config.ts";

export interface PauseSeccomp extends Pick<ProfileContext, "architecture" | "kernelVersion"> {
  /** What RuntimeDefault means here. */
  runtimeDefault: SeccompProfile;
}

const field = "config.linux.security_context.seccomp";

/**
 * Undefined for none: nothing asked for, unconfined, or privileged. Without libseccomp RuntimeDefault is none, too: pause
 * has no privilege to misuse, and pods whose containers want no profile must run on such a node.
 * @throws CricketError for a Localhost profile that cannot be read or compiled, or that notifies an agent
 */
export function pauseSeccompFilter(
  { seccomp, privileged }: Pick<SandboxSecurity, "seccomp" | "privileged">,
  { runtimeDefault, architecture, kernelVersion }: PauseSeccomp,
): SeccompFilter | undefined {
  if (privileged || seccomp === undefined || seccomp.type === "unconfined") return undefined;
  if (seccomp.type === "runtime-default" && !hasLibseccomp()) return undefined;
  const filter = compile(seccomp.type === "localhost" ? seccomp.ref : runtimeDefault, {
    capabilities: [],
    architecture,
    kernelVersion,
  });
  if (filter.listener) throw invalidArgument(`${field}: rules that notify an agent are for containers`);
  return filter;
}

function compile(profile: SeccompProfile | string, context: ProfileContext): SeccompFilter {
  try {
    const read = typeof profile === "string" ? readSeccompProfile(profile) : profile;
    return compileSeccomp(resolveSeccompProfile(read, context));
  } catch (error) {
    throw wrapError(field, error);
  }
}

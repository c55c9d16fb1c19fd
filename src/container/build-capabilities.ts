// The capabilities of a container.
import { invalidArgument } from "../base/errors.ts";
import { capabilityMask, capabilityNames, normaliseCapability } from "../linux/capabilities.ts";
import type { Capabilities } from "../oci/spec.ts";
import type { HostFacts } from "./build-spec.ts";
import type { ContainerSecurity } from "./container-config.ts";

const field = "config.linux.security_context.capabilities";

/**
 * Defaults, then ALL (added or dropped), then single ones added, then single ones dropped. Never more than the
 * runtime's own bounding set: capset would fail where the runtime is itself confined. The inheritable set holds
 * what is ambient and nothing else: more would be a way up for programs with file capabilities (CVE-2022-27652).
 */
export function buildCapabilities(
  security: ContainerSecurity,
  host: Pick<HostFacts, "boundingCapabilities" | "defaultCapabilities">,
): Capabilities {
  const granted = grantedMask(security, host) & host.boundingCapabilities;
  const names = capabilityNames(granted);
  const ambient = ambientNames(security, granted);
  return { bounding: names, effective: names, permitted: names, inheritable: ambient, ambient };
}

function grantedMask(
  { privileged, capabilities }: ContainerSecurity,
  host: Pick<HostFacts, "boundingCapabilities" | "defaultCapabilities">,
): bigint {
  if (privileged) return host.boundingCapabilities;
  const add = capabilities.add.map((name) => normalise(name, "add_capabilities"));
  const drop = capabilities.drop.map((name) => normalise(name, "drop_capabilities"));
  let mask = capabilityMask(host.defaultCapabilities, "container.default_capabilities");
  if (add.includes("ALL")) mask = host.boundingCapabilities;
  if (drop.includes("ALL")) mask = 0n;
  mask |= capabilityMask(withoutAll(add), `${field}.add_capabilities`);
  return mask & ~capabilityMask(withoutAll(drop), `${field}.drop_capabilities`);
}

function normalise(name: string, list: string): string {
  return name.toUpperCase() === "ALL" ? "ALL" : normaliseCapability(name, `${field}.${list}`);
}

function withoutAll(names: readonly string[]): string[] {
  return names.filter((name) => name !== "ALL");
}

function ambientNames({ capabilities }: ContainerSecurity, granted: bigint): string[] {
  const at = `${field}.add_ambient_capabilities`;
  const names = capabilities.addAmbient.map((name) => normaliseCapability(name, at));
  const mask = capabilityMask(names, at);
  const [missing] = capabilityNames(mask & ~granted);
  if (missing !== undefined) throw invalidArgument(`${at} has ${missing}, which the container does not have`);
  return capabilityNames(mask);
}

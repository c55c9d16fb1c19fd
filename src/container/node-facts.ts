// What containers take from the machine and the configuration; looked up once, when the daemon starts.
import { readFileSync } from "node:fs";
import { wrapError } from "../base/errors.ts";
import type { ContainerDefaults } from "../config/config.ts";
import type { CgroupLayout } from "../linux/cgroup/layout.ts";
import { probeKernel } from "../linux/kernel-features.ts";
import { capabilityBoundingSet } from "../linux/proc.ts";
import { defaultSeccompProfile } from "../oci/seccomp-default.ts";
import { parseSeccompProfile, type SeccompProfile } from "../oci/seccomp-profile.ts";
import type { HostFacts } from "./build-spec.ts";

export interface NodeFacts {
  host: HostFacts;
  /** What RuntimeDefault means here. */
  seccompProfile: SeccompProfile;
  logMaxLineBytes: number;
}

/** @throws CricketError invalid-argument for a configured seccomp profile that cannot be used */
export function readNodeFacts(layout: CgroupLayout, defaults: ContainerDefaults): NodeFacts {
  const { release } = probeKernel();
  return {
    host: {
      cgroupVersion: layout.kind === "v2" ? 2 : 1,
      boundingCapabilities: capabilityBoundingSet(),
      defaultCapabilities: defaults.defaultCapabilities,
      defaultEnv: defaults.defaultEnv,
      defaultRlimits: defaults.defaultRlimits,
      pidsLimit: defaults.pidsLimit,
      selinux: false,
      architecture: process.arch === "x64" ? "amd64" : process.arch,
      kernelVersion: release,
    },
    seccompProfile:
      defaults.seccompProfile === "" ? defaultSeccompProfile : readSeccompProfile(defaults.seccompProfile),
    logMaxLineBytes: defaults.logMaxLineBytes,
  };
}

/** A profile file: the configured one, or a pod's Localhost profile. */
export function readSeccompProfile(path: string): SeccompProfile {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw wrapError(`read seccomp profile ${path}`, error);
  }
  return parseSeccompProfile(text, path);
}

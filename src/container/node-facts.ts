// What containers take from the machine and the configuration; looked up once, when the daemon starts.
import { readFileSync } from "node:fs";
import type { ContainerDefaults, RdtConfig, SecurityConfig } from "../config/config.ts";
import type { CgroupLayout } from "../linux/cgroup/layout.ts";
import { kernelRelease } from "../linux/kernel-release.ts";
import { capabilityBoundingSet } from "../linux/proc.ts";
import { defaultSeccompProfile } from "../oci/seccomp-default.ts";
import { hasLibseccomp } from "../linux/seccomp.ts";
import { compileSeccomp } from "../oci/compile-seccomp.ts";
import { readSeccompProfile, resolveSeccompProfile, type SeccompProfile } from "../oci/seccomp-profile.ts";
import { Apparmor } from "./apparmor.ts";
import type { HostFacts } from "./build-spec.ts";
import type { ImageVolumePolicy } from "./image-volumes.ts";

export interface NodeFacts {
  host: HostFacts;
  /** What RuntimeDefault means here. */
  seccompProfile: SeccompProfile;
  logMaxLineBytes: number;
  oomGroup: boolean;
  apparmor: Apparmor;
  imageVolumes: ImageVolumePolicy;
  /** Images may be checkpoints. */
  checkpointImages: boolean;
  /** Where resctrl is; undefined: wherever it is mounted, if it is. */
  resctrl: string | undefined;
  /** The lowest oom_score_adj this process may give; undefined where it may give any (CAP_SYS_RESOURCE). */
  lowestOomScoreAdj: number | undefined;
}

/** @throws CricketError invalid-argument for a configured seccomp profile that cannot be used */
export function readNodeFacts(
  layout: CgroupLayout,
  defaults: ContainerDefaults,
  security: SecurityConfig,
  rdt: RdtConfig,
): NodeFacts {
  return {
    host: {
      cgroupVersion: layout.kind === "v2" ? 2 : 1,
      boundingCapabilities: capabilityBoundingSet(),
      defaultCapabilities: defaults.defaultCapabilities,
      defaultEnv: defaults.defaultEnv,
      defaultRlimits: defaults.defaultRlimits,
      pidsLimit: defaults.pidsLimit,
      architecture: process.arch === "x64" ? "amd64" : process.arch,
      kernelVersion: kernelRelease(),
    },
    seccompProfile:
      defaults.seccompProfile === "" ? defaultSeccompProfile : readSeccompProfile(defaults.seccompProfile),
    logMaxLineBytes: defaults.logMaxLineBytes,
    oomGroup: defaults.oomGroup,
    apparmor: new Apparmor(security.apparmorProfile),
    imageVolumes: defaults.imageVolumes,
    checkpointImages: defaults.checkpointImages,
    resctrl: configuredResctrl(rdt),
    lowestOomScoreAdj: lowestOomScoreAdj(),
  };
}

/** Undefined: wherever it is mounted. */
export function configuredResctrl({ resctrlPath }: RdtConfig): string | undefined {
  return resctrlPath === "" ? undefined : resctrlPath;
}

const CAP_SYS_RESOURCE = 24n;

function lowestOomScoreAdj(): number | undefined {
  if ((capabilityBoundingSet() & (1n << CAP_SYS_RESOURCE)) !== 0n) return undefined;
  return Number(readFileSync("/proc/self/oom_score_adj", "utf8"));
}

/**
 * Compiles RuntimeDefault for pause and for the default capabilities: libseccomp takes some 20 ms for it, which the first
 * pod and container would have to wait for. Compilations are kept by content.
 */
export function warmSeccomp({ host, seccompProfile }: NodeFacts): void {
  if (!hasLibseccomp()) return;
  const { architecture, kernelVersion, defaultCapabilities } = host;
  for (const capabilities of [[], defaultCapabilities])
    compileSeccomp(resolveSeccompProfile(seccompProfile, { capabilities, architecture, kernelVersion }));
}

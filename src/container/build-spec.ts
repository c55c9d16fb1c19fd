// CRI config + image config + facts of the sandbox and the host -> OCI spec. Pure: nothing here looks at the machine,
// so every rule can be tested as a table.
import { CricketError, invalidArgument } from "../base/errors.ts";
import type { DefaultRlimit } from "../config/config.ts";
import type { ImageConfig } from "../image/image-config.ts";
import { rlimitType } from "../oci/compile-limits.ts";
import type { Device, Linux, Resources, Seccomp } from "../oci/linux-spec.ts";
import { resolveSeccompProfile, type SeccompProfile } from "../oci/seccomp-profile.ts";
import { SPEC_VERSION, type Process, type Rlimit, type Spec } from "../oci/spec.ts";
import type { LinuxResources } from "../sandbox/sandbox-config.ts";
import type { SelinuxLabels } from "../sandbox/selinux-label.ts";
import { podIdMaps } from "../sandbox/user-namespace.ts";
import { buildCapabilities } from "./build-capabilities.ts";
import { buildDeviceRules, type GrantedDevice } from "./build-devices.ts";
import { buildArgs, buildCwd, buildEnv } from "./build-command.ts";
import { buildMounts, type PodFiles } from "./build-mounts.ts";
import { buildNamespaces } from "./build-namespaces.ts";
import type { ContainerConfig } from "./container-config.ts";
import type { ResolvedUser } from "./resolve-user.ts";

/** What the container takes from its sandbox. */
export interface SandboxFacts {
  id: string;
  /** The process that holds the pod's namespaces. */
  pausePid: number;
  /** First process of the container that namespace_options.target_id names; needed with pid mode TARGET. */
  targetPid?: number;
  hostname: string;
  files: PodFiles;
  privileged: boolean;
}

/** What the container takes from the machine and the daemon's configuration. */
export interface HostFacts {
  /** 2 only where all controllers are in the unified hierarchy. */
  cgroupVersion: 1 | 2;
  /** capabilityBoundingSet() of the daemon: the most a container can get. */
  boundingCapabilities: bigint;
  defaultCapabilities: readonly string[];
  /** "KEY=value" lines. */
  defaultEnv: readonly string[];
  defaultRlimits: readonly DefaultRlimit[];
  /** 0: none. */
  pidsLimit: number;
  /** Go's name of the architecture, as seccomp profiles have it: "amd64", "arm64". */
  architecture: string;
  kernelVersion: { major: number; minor: number };
}

/** What the host's security modules know the container by; each absent where the module is off or left out. */
export interface SecurityLabels {
  /** Name of a loaded profile. */
  apparmorProfile?: string;
  /** "": none. */
  selinux?: SelinuxLabels;
}

export interface ContainerSpecInput {
  id: string;
  config: ContainerConfig;
  image: ImageConfig;
  user: ResolvedUser;
  sandbox: SandboxFacts;
  host: HostFacts;
  /** Where the rootfs is attached, for the spec's root.path. */
  rootfsPath: string;
  /** Absolute path of the container's cgroup. */
  cgroupPath: string;
  /** config.devices as found on the host, by resolveDevices; for a privileged container all devices of the host. */
  devices: readonly GrantedDevice[];
  labels: SecurityLabels;
  /** The profile that config.linux.security_context.seccomp means: the built-in one, or the Localhost file, parsed. */
  seccompProfile?: SeccompProfile;
  /** Directories of the host for the volumes that the image declares. */
  declaredVolumes?: readonly { destination: string; source: string }[];
}

export interface ContainerSpec {
  spec: Spec;
  /** process.env as bytes: the CRI's values need not be UTF-8. */
  env: Uint8Array[];
}

/**
 * The OCI spec of a container.
 * @throws CricketError invalid-argument naming the field of the request
 */
export function buildContainerSpec(input: ContainerSpecInput): ContainerSpec {
  const { config, sandbox } = input;
  if (config.security.privileged && !sandbox.privileged)
    throw invalidArgument("config.linux.security_context.privileged: the sandbox is not privileged");
  const env = buildEnv(input);
  const spec: Spec = {
    ociVersion: SPEC_VERSION,
    root: { path: input.rootfsPath, readonly: config.security.readonlyRootfs },
    mounts: buildMounts(input),
    process: buildProcess(input, env),
    annotations: buildAnnotations(input),
    linux: buildLinux(input),
  };
  return { spec, env };
}

function buildProcess(input: ContainerSpecInput, env: readonly Uint8Array[]): Process {
  const { config, user, host } = input;
  const { security } = config;
  return {
    terminal: config.tty,
    user: { uid: user.uid, gid: user.gid, umask: 0o022, additionalGids: user.additionalGids },
    args: buildArgs(config, input.image),
    env: env.map((line) => Buffer.from(line).toString("utf8")),
    cwd: buildCwd(config, input.image),
    capabilities: buildCapabilities(security, host),
    rlimits: host.defaultRlimits.map(buildRlimit),
    noNewPrivileges: security.noNewPrivs,
    ...buildProcessLabels(input.labels),
    oomScoreAdj: config.resources.oomScoreAdj,
  };
}

const RLIM_INFINITY = 2n ** 64n - 1n;

function buildRlimit({ name, soft, hard }: DefaultRlimit): Rlimit {
  const type = rlimitType(name);
  if (type === undefined) throw new CricketError("internal", `default rlimit ${name} is not a resource`);
  const limit = (value: bigint): bigint => (value === -1n ? RLIM_INFINITY : value);
  return { type, soft: limit(soft), hard: limit(hard) };
}

function buildProcessLabels({
  apparmorProfile,
  selinux,
}: SecurityLabels): Pick<Process, "apparmorProfile" | "selinuxLabel"> {
  const selinuxLabel = selinux?.process ?? "";
  return {
    ...(apparmorProfile === undefined ? {} : { apparmorProfile }),
    ...(selinuxLabel === "" ? {} : { selinuxLabel }),
  };
}

function buildAnnotations({ config, sandbox }: ContainerSpecInput): Record<string, string> {
  // Nothing of the pod's own annotations: to runtimes and hooks some of them are commands (CVE-2024-3154).
  return {
    "io.kubernetes.cri.container-type": "container",
    "io.kubernetes.cri.container-name": config.metadata.name,
    "io.kubernetes.cri.sandbox-id": sandbox.id,
  };
}

function buildLinux(input: ContainerSpecInput): Linux {
  const { security } = input.config;
  const seccomp = buildSeccomp(input);
  const { maskedPaths, readonlyPaths } = buildHiddenPaths(security);
  const maps = podIdMaps(security.namespaces);
  const mountLabel = input.labels.selinux?.mount ?? "";
  return {
    namespaces: buildNamespaces(input),
    ...(maps === undefined ? {} : { uidMappings: maps.uids, gidMappings: maps.gids }),
    cgroupsPath: input.cgroupPath,
    resources: buildResources(input),
    devices: input.devices.map(
      ({ permissions: _permissions, hostPath: _hostPath, ...device }): Device => device,
    ),
    maskedPaths,
    readonlyPaths,
    ...(seccomp === undefined ? {} : { seccomp }),
    ...(mountLabel === "" ? {} : { mountLabel }),
  };
}

function buildSeccomp({ config, host, seccompProfile }: ContainerSpecInput): Seccomp | undefined {
  const { privileged, seccomp } = config.security;
  if (privileged || seccomp === undefined || seccomp.type === "unconfined") return undefined;
  if (seccompProfile === undefined)
    throw new CricketError("internal", `the ${seccomp.type} seccomp profile was not loaded`);
  const capabilities = buildCapabilities(config.security, host).bounding ?? [];
  return resolveSeccompProfile(seccompProfile, {
    capabilities,
    architecture: host.architecture,
    kernelVersion: host.kernelVersion,
  });
}

// What the kubelet sends for every container that does not ask for procMount: Unmasked.
const defaultMaskedPaths = [
  "/proc/asound",
  "/proc/acpi",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/sys/firmware",
  "/sys/devices/virtual/powercap",
];
const defaultReadonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/**
 * Lists that are given are taken as they are. Empty ones mean "nothing hidden" only in a pod with a user namespace
 * (the kubelet admits procMount: Unmasked nowhere else); a client that leaves them out gets the safe ones.
 */
function buildHiddenPaths(security: ContainerConfig["security"]): {
  maskedPaths: string[];
  readonlyPaths: string[];
} {
  if (security.privileged) return { maskedPaths: [], readonlyPaths: [] };
  const { maskedPaths, readonlyPaths, namespaces } = security;
  const isUnmasked = namespaces.user?.mode === "pod" || maskedPaths.length + readonlyPaths.length > 0;
  return isUnmasked
    ? { maskedPaths, readonlyPaths }
    : { maskedPaths: [...defaultMaskedPaths], readonlyPaths: [...defaultReadonlyPaths] };
}

function buildResources(input: ContainerSpecInput): Resources {
  const { config, host } = input;
  const { resources } = config;
  return {
    devices: buildDeviceRules(config.security.privileged, input.devices),
    ...buildMemory(resources),
    ...buildCpu(resources),
    ...(host.pidsLimit > 0 ? { pids: { limit: BigInt(host.pidsLimit) } } : {}),
    ...(resources.hugepageLimits.length === 0
      ? {}
      : {
          hugepageLimits: resources.hugepageLimits.map(({ pageSize, limitBytes }) => ({
            pageSize,
            limit: limitBytes,
          })),
        }),
    ...(Object.keys(resources.unified).length === 0 ? {} : { unified: { ...resources.unified } }),
  };
}

export function buildMemory(resources: LinuxResources): Pick<Resources, "memory"> {
  const { memoryLimitBytes, memorySwapLimitBytes } = resources;
  if (memoryLimitBytes === 0n && memorySwapLimitBytes === 0n) return {};
  return {
    memory: {
      ...(memoryLimitBytes === 0n ? {} : { limit: memoryLimitBytes }),
      ...(memorySwapLimitBytes === 0n ? {} : { swap: memorySwapLimitBytes }),
    },
  };
}

export function buildCpu(resources: LinuxResources): Pick<Resources, "cpu"> {
  const { cpuShares, cpuQuota, cpuPeriod, cpusetCpus, cpusetMems } = resources;
  const cpu = {
    ...(cpuShares === 0n ? {} : { shares: cpuShares }),
    ...(cpuQuota === 0n ? {} : { quota: cpuQuota }),
    ...(cpuPeriod === 0n ? {} : { period: cpuPeriod }),
    ...(cpusetCpus === "" ? {} : { cpus: cpusetCpus }),
    ...(cpusetMems === "" ? {} : { mems: cpusetMems }),
  };
  return Object.keys(cpu).length === 0 ? {} : { cpu };
}

// Every key of the configuration, its default and its check. In TOML a key is written in snake_case.
import type { Config, MetricFamily, RuntimeConfig } from "./config.ts";
import type { Setting } from "./setting.ts";
import {
  flag,
  integer,
  ipAddress,
  matching,
  oneOf,
  optionalPath,
  path,
  paths,
  rlimits,
  someOf,
  stringsMatching,
  subnet,
} from "./setting.ts";

export type Section<T> = { readonly [K in keyof T]: Setting<T[K]> };
type SectionName = Exclude<
  { [K in keyof Config]: Config[K] extends string ? never : K }[keyof Config],
  "runtimes"
>;

/** Keys outside any section, and the sections. */
export interface ConfigSchema {
  top: Section<Omit<Config, SectionName | "runtimes">>;
  sections: { readonly [K in SectionName]: Section<Config[K]> };
  /** Of each `[runtimes.NAME]`. */
  runtime: Section<RuntimeConfig>;
}

/** A RuntimeClass's handler is a DNS label. */
export const handlerPattern = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;

// The fourteen of moby and containerd; images are written against them.
const defaultCapabilities = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FSETID",
  "CAP_FOWNER",
  "CAP_MKNOD",
  "CAP_NET_RAW",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETFCAP",
  "CAP_SETPCAP",
  "CAP_NET_BIND_SERVICE",
  "CAP_SYS_CHROOT",
  "CAP_KILL",
  "CAP_AUDIT_WRITE",
];

// What belongs to a namespace of the pod alone (CVE-2022-0811: kernel.core_pattern does not).
const allowedSysctls = ["kernel.sem", "kernel.shm*", "kernel.msg*", "fs.mqueue.*", "net.*"];

const cgroupParent = /^(?:(?:\/(?!\.\.?(?:\/|$))[^/\0\n]+)+|[\w:.\\-]+\.slice)$/;
const sysctlPattern = /^[a-z0-9](?:[-\w]*)(?:[./][-\w]+)*(?:[./])?\*?$/i;

const metricFamilies: MetricFamily[] = [
  "cpu",
  "disk",
  "diskIO",
  "hugetlb",
  "memory",
  "network",
  "oom",
  "pressure",
  "process",
  "spec",
];

function streamingSection(): ConfigSchema["sections"]["streaming"] {
  return {
    // Whoever reaches it still needs a token, but a cluster needs no more than loopback: the kubelet relays.
    address: ipAddress("127.0.0.1"),
    port: integer(0, 0, 65_535),
    tlsCert: optionalPath(),
    tlsKey: optionalPath(),
    idleTimeoutMs: integer(4 * 60 * 60 * 1000, 1000, 2 ** 31 - 1),
    creationTimeoutMs: integer(30_000, 100, 2 ** 31 - 1),
  };
}

function securitySection(): ConfigSchema["sections"]["security"] {
  return {
    apparmorProfile: matching("cricket-default", /^[^\s"]+$/, "not the name of a profile"),
    enableSelinux: flag(true),
    // The policies of the field have 1024 categories.
    selinuxCategoryRange: integer(1024, 2, 1024),
    hostNetworkDisableSelinux: flag(true),
  };
}

function nriSection(): ConfigSchema["sections"]["nri"] {
  return {
    enabled: flag(true),
    socket: optionalPath("/var/run/nri/nri.sock"),
    pluginDir: path("/opt/nri/plugins"),
    pluginConfigDir: path("/etc/nri/conf.d"),
    registrationTimeoutMs: integer(5000, 10, 600_000),
    requestTimeoutMs: integer(5000, 10, 600_000),
    requiredPlugins: stringsMatching([], /^[\w.+-]+$/, "not the name of a plugin"),
    tolerateMissingAnnotation: matching("", /^\S*$/, "not the key of an annotation"),
    reject: stringsMatching(
      [],
      /^(?:hooks|namespaces|sysctls|seccomp-(?:runtime-default|unconfined|localhost))$/,
      "not one of hooks, namespaces, sysctls, seccomp-runtime-default, seccomp-unconfined, seccomp-localhost",
    ),
  };
}

function runtimeSection(): ConfigSchema["runtime"] {
  return {
    type: oneOf("oci", ["oci", "embedded"]),
    path: optionalPath(),
    root: optionalPath(),
    timeoutMs: integer(60_000, 100, 2 ** 31 - 1),
  };
}

function containerSection(): ConfigSchema["sections"]["container"] {
  return {
    defaultCapabilities: stringsMatching(
      defaultCapabilities,
      /^CAP_[A-Z0-9_]+$/,
      "not a capability name such as CAP_CHOWN",
    ),
    pidsLimit: integer(0, 0, 4_194_304),
    logMaxLineBytes: integer(16_384, 256, 1024 * 1024),
    oomGroup: flag(false),
    defaultRlimits: rlimits([]),
    defaultEnv: stringsMatching([], /^[^=\0]+=[^\0]*$/, "not of the form KEY=value"),
    seccompProfile: optionalPath(),
    imageVolumes: oneOf("bind", ["bind", "mkdir", "ignore"]),
    checkpointImages: flag(false),
  };
}

/** `helperDir` depends on where the program was installed, so the caller gives it. */
export function configSchema(helperDir: string): ConfigSchema {
  return {
    top: {
      // "": cricket.sock in the run root.
      socket: optionalPath(),
      stateRoot: path("/var/lib/cricket"),
      runRoot: path("/run/cricket"),
      helperDir: path(helperDir),
    },
    sections: {
      log: {
        level: oneOf("info", ["debug", "info", "warn", "error"]),
        format: oneOf("text", ["text", "json"]),
      },
      cgroup: {
        parent: matching("/cricket", cgroupParent, "neither an absolute cgroup path nor the name of a slice"),
        driver: oneOf("cgroupfs", ["cgroupfs", "systemd"]),
      },
      network: {
        mode: oneOf("auto", ["auto", "bridge", "cni"]),
        // IFNAMSIZ is 16 with the final NUL; the kernel refuses slashes, colons and blanks.
        bridgeName: matching("cricket0", /^(?!\.{1,2}$)[^\s/:\0]{1,15}$/, "not an interface name"),
        subnet: subnet("10.88.0.0/16", 4),
        subnet6: subnet("", 6),
        mtu: integer(0, 0, 65_535),
        cniConfDir: path("/etc/cni/net.d"),
        cniBinDirs: paths(["/opt/cni/bin", "/usr/lib/cni"]),
        hostPorts: oneOf("auto", ["auto", "nft", "proxy"]),
      },
      image: {
        registriesConf: path("/etc/containers/registries.conf"),
        policy: path("/etc/containers/policy.json"),
        authFile: path("/etc/containers/auth.json"),
        parallelLayers: integer(5, 1, 64),
        stallTimeoutMs: integer(60_000, 0, 2 ** 31 - 1),
        pinned: stringsMatching([], /^\*?[^\s*]+\*?$/, "not a reference with at most a * at either end"),
      },
      sandbox: {
        allowedSysctls: stringsMatching(allowedSysctls, sysctlPattern, "not a sysctl name or prefix*"),
        shmSizeBytes: integer(64 * 1024 * 1024, 4096),
      },
      container: containerSection(),
      security: securitySection(),
      stats: { includedPodMetrics: someOf(metricFamilies) },
      streaming: streamingSection(),
      nri: nriSection(),
      cdi: { specDirs: paths(["/etc/cdi", "/var/run/cdi"]) },
      blockio: { configFile: optionalPath() },
      rdt: { resctrlPath: optionalPath() },
    },
    runtime: runtimeSection(),
  };
}

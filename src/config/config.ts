// What an operator can set. Defaults live in config-schema.ts, reading and merging in load-config.ts.
import type { LogLevel } from "../base/log.ts";

/** One default rlimit of containers; `name` is getrlimit(2)'s without the prefix, in lower case: "nofile". */
export interface DefaultRlimit {
  name: string;
  soft: bigint;
  /** -1n is RLIM_INFINITY, for `soft` too. */
  hard: bigint;
}

export interface LogConfig {
  level: LogLevel;
  format: "text" | "json";
}

export interface CgroupConfig {
  /** Where pods without a cgroup_parent live: absolute inside each hierarchy, or the name of a slice for systemd. */
  parent: string;
  driver: "cgroupfs" | "systemd";
}

export interface NetworkConfig {
  /** "auto": CNI plugins while `cniConfDir` holds a configuration, else the bridge. "cni": never the bridge. */
  mode: "auto" | "bridge" | "cni";
  bridgeName: string;
  /** CIDR; the first address is the bridge's. */
  subnet: string;
  /** CIDR, or "" for no IPv6. */
  subnet6: string;
  /** 0: what the host's uplink has. */
  mtu: number;
  cniConfDir: string;
  cniBinDirs: string[];
  hostPorts: "auto" | "nft" | "proxy";
}

export interface ImageConfig {
  /** containers-registries.conf(5): the file, then `<file>.d/*.conf`. Missing files are fine. */
  registriesConf: string;
  /** containers-policy.json(5). Missing: everything is accepted. */
  policy: string;
  /** containers-auth.json(5), for pulls that bring no credentials of their own. */
  authFile: string;
  /** Layers of one pull that are fetched side by side. */
  parallelLayers: number;
  /** A pull in which no byte arrives for this long fails; 0 waits for ever. */
  stallTimeoutMs: number;
  /** References that garbage collection by the kubelet must leave; a `*` at either end matches anything. */
  pinned: string[];
}

export interface ContainerDefaults {
  /** Capabilities of a container that asks for none, "CAP_CHOWN". */
  defaultCapabilities: string[];
  /** Highest number of tasks in a container; 0 sets no limit. */
  pidsLimit: number;
  /** Log lines longer than this are split and tagged P. */
  logMaxLineBytes: number;
  /** The OOM killer ends the whole container, on cgroup v2. A request that says memory.oom.group itself has its way. */
  oomGroup: boolean;
  defaultRlimits: DefaultRlimit[];
  /** "KEY=value" lines that every container gets unless its image or the CRI says otherwise. */
  defaultEnv: string[];
  /** A JSON file that takes the place of the built-in RuntimeDefault profile; "" keeps the built-in one. */
  seccompProfile: string;
  /**
   * Volumes that an image declares: "bind" gives each a directory of the host that goes with the container, "mkdir" makes
   * the directory in the container if it is missing, "ignore" does nothing.
   */
  imageVolumes: "bind" | "mkdir" | "ignore";
  /** Containers may come out of images that are annotated as checkpoints: whoever names an image then has criu read it. */
  checkpointImages: boolean;
}

export interface SandboxDefaults {
  /** Names or `prefix*` patterns. */
  allowedSysctls: string[];
  /** Size of a pod's /dev/shm. */
  shmSizeBytes: number;
}

/** A group of metrics of ListPodSandboxMetrics. */
export type MetricFamily =
  "cpu" | "disk" | "diskIO" | "hugetlb" | "memory" | "network" | "oom" | "pressure" | "process" | "spec";

export interface StatsConfig {
  /** What ListPodSandboxMetrics reads; what is left out costs nothing. */
  includedPodMetrics: MetricFamily[];
}

export interface SecurityConfig {
  /** AppArmor profile that RuntimeDefault means: the built-in one, or one that the operator loads. */
  apparmorProfile: string;
  /** Labels containers where the kernel has SELinux with a policy. */
  enableSelinux: boolean;
  /** Each pod gets a pair of its own of that many categories. */
  selinuxCategoryRange: number;
  /** Containers in the host's network namespace run without a process label. */
  hostNetworkDisableSelinux: boolean;
}

export interface StreamingConfig {
  /** An IP address of this host. */
  address: string;
  /** 0: any that is free. */
  port: number;
  /** PEM files; both, or "" for plain http. They are read again when they change. */
  tlsCert: string;
  tlsKey: string;
  /** A session in which no byte moves for this long is closed. */
  idleTimeoutMs: number;
  /** How long a client may take from connecting to having opened its streams. */
  creationTimeoutMs: number;
}

export interface NriConfig {
  enabled: boolean;
  /** Where plugins connect; "" takes no connections. */
  socket: string;
  /** Executables named "NN-name" that are launched with the daemon. */
  pluginDir: string;
  /** Their configurations. */
  pluginConfigDir: string;
  registrationTimeoutMs: number;
  /** A plugin that takes longer for an answer is disconnected. */
  requestTimeoutMs: number;
  /** Names (without index) of plugins without which no container is created. */
  requiredPlugins: string[];
  /** Annotation with which a pod, set to "true", does without required plugins; "" for none. */
  tolerateMissingAnnotation: string;
  /** What no plugin may adjust: hooks, namespaces, sysctls, seccomp-runtime-default, -unconfined, -localhost. */
  reject: string[];
}

export interface CdiConfig {
  /** Where the files are that describe devices; a later directory goes before an earlier. */
  specDirs: string[];
}

export interface BlockIoConfig {
  /** Names classes of block I/O; "" where there are none. */
  configFile: string;
}

export interface RdtConfig {
  /** Where resctrl is; "": wherever it is mounted. */
  resctrlPath: string;
}

/** `[runtimes.NAME]`: what runs the pods whose RuntimeClass has NAME as its handler. */
export interface RuntimeConfig {
  /** "oci": another OCI runtime with runc's command line; "embedded": the same as the default. */
  type: "oci" | "embedded";
  /** Absolute path of the executable; "" with type "embedded". */
  path: string;
  /** Where it keeps its state; "": in the run root. */
  root: string;
  /** How long one invocation may take. */
  timeoutMs: number;
}

export interface Config {
  /** The CRI socket. */
  socket: string;
  /** Survives reboots: images, layers, leases. */
  stateRoot: string;
  /** Dies with the boot: records, sockets, netns pins. */
  runRoot: string;
  /** Where the static C programs lie. */
  helperDir: string;
  log: LogConfig;
  cgroup: CgroupConfig;
  network: NetworkConfig;
  image: ImageConfig;
  sandbox: SandboxDefaults;
  container: ContainerDefaults;
  security: SecurityConfig;
  stats: StatsConfig;
  streaming: StreamingConfig;
  nri: NriConfig;
  cdi: CdiConfig;
  blockio: BlockIoConfig;
  rdt: RdtConfig;
  /** By the handler's name; the embedded runtime is there as "" and "cricket" without being configured. */
  runtimes: Record<string, RuntimeConfig>;
}

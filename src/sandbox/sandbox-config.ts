// A pod sandbox as the caller asked for it: PodSandboxConfig of CRI v1, checked and normalised at the API edge.
import type { PortMapping } from "../network/pod-network.ts";

export type NamespaceMode = "pod" | "container" | "node" | "target";

export interface IdMapping {
  hostId: number;
  containerId: number;
  length: number;
}

export interface UserNamespaceOptions {
  mode: "pod" | "node";
  uids: IdMapping[];
  gids: IdMapping[];
}

export interface NamespaceOptions {
  network: "pod" | "node";
  pid: NamespaceMode;
  ipc: "pod" | "node";
  /** The container whose pid namespace is joined when `pid` is "target". */
  targetId: string;
  user?: UserNamespaceOptions;
}

export type SecurityProfile =
  | { type: "runtime-default" }
  | { type: "unconfined" }
  /** `ref`: absolute path of a seccomp profile, or name of a loaded AppArmor profile. */
  | { type: "localhost"; ref: string };

export interface SelinuxOptions {
  user: string;
  role: string;
  type: string;
  level: string;
}

/** LinuxContainerResources: 0 and "" mean "not set", as on the wire. */
export interface LinuxResources {
  cpuPeriod: bigint;
  cpuQuota: bigint;
  cpuShares: bigint;
  memoryLimitBytes: bigint;
  memorySwapLimitBytes: bigint;
  oomScoreAdj: number;
  cpusetCpus: string;
  cpusetMems: string;
  hugepageLimits: { pageSize: string; limitBytes: bigint }[];
  unified: Record<string, string>;
}

export interface DnsConfig {
  servers: string[];
  searches: string[];
  options: string[];
}

export interface SandboxMetadata {
  name: string;
  uid: string;
  namespace: string;
  attempt: number;
}

export interface SandboxConfig {
  metadata: SandboxMetadata;
  hostname: string;
  /** Absolute, or "" when no container of the pod keeps logs. */
  logDirectory: string;
  dns?: DnsConfig;
  portMappings: PortMapping[];
  labels: Record<string, string>;
  annotations: Record<string, string>;
  cgroupParent: string;
  sysctls: Record<string, string>;
  overhead?: LinuxResources;
  resources?: LinuxResources;
  security: SandboxSecurity;
}

export interface SandboxSecurity {
  namespaces: NamespaceOptions;
  privileged: boolean;
  readonlyRootfs: boolean;
  runAsUser?: number;
  runAsGroup?: number;
  supplementalGroups: number[];
  supplementalGroupsPolicy: "merge" | "strict";
  seccomp?: SecurityProfile;
  apparmor?: SecurityProfile;
  selinux?: SelinuxOptions;
}

// A plain container request and the facts around it, for the tests of what is built from them.
import type { ContainerSpecInput } from "../../../src/container/build-spec.ts";
import type { ContainerConfig, ContainerSecurity } from "../../../src/container/container-config.ts";
import type { ImageConfig } from "../../../src/image/image-config.ts";
import type { LinuxResources } from "../../../src/sandbox/sandbox-config.ts";
import { capabilityMask } from "../../../src/linux/capabilities.ts";

export const defaultCapabilities = [
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

/** All of Linux 6.18 but CAP_SYS_RESOURCE, as a nested runtime has it. */
export const nestedBoundingSet = ((1n << 41n) - 1n) & ~capabilityMask(["CAP_SYS_RESOURCE"], "test");

export function security(changes: Partial<ContainerSecurity> = {}): ContainerSecurity {
  return {
    namespaces: { network: "pod", pid: "container", ipc: "pod", targetId: "" },
    privileged: false,
    readonlyRootfs: false,
    noNewPrivs: true,
    runAsUsername: "",
    supplementalGroups: [],
    supplementalGroupsPolicy: "merge",
    capabilities: { add: [], drop: [], addAmbient: [] },
    maskedPaths: [],
    readonlyPaths: [],
    ...changes,
  };
}

export function resources(changes: Partial<LinuxResources> = {}): LinuxResources {
  return {
    cpuPeriod: 0n,
    cpuQuota: 0n,
    cpuShares: 0n,
    memoryLimitBytes: 0n,
    memorySwapLimitBytes: 0n,
    oomScoreAdj: 0,
    cpusetCpus: "",
    cpusetMems: "",
    hugepageLimits: [],
    unified: {},
    ...changes,
  };
}

export function containerConfig(changes: Partial<ContainerConfig> = {}): ContainerConfig {
  return {
    metadata: { name: "web", attempt: 0 },
    image: { reference: "sha256:abc", userSpecified: "web:1", annotations: {}, runtimeHandler: "" },
    command: ["/bin/web"],
    args: [],
    workingDir: "",
    envs: [],
    mounts: [],
    devices: [],
    cdiDevices: [],
    labels: {},
    annotations: {},
    logPath: "web/0.log",
    stdin: false,
    stdinOnce: false,
    tty: false,
    resources: resources(),
    security: security(),
    ...changes,
  };
}

export function imageConfig(changes: Partial<ImageConfig> = {}): ImageConfig {
  return {
    user: "",
    env: [],
    entrypoint: [],
    cmd: [],
    workingDir: "",
    stopSignal: "",
    volumes: [],
    labels: {},
    exposedPorts: [],
    ...changes,
  };
}

export function specInput(changes: Partial<ContainerSpecInput> = {}): ContainerSpecInput {
  return {
    id: "c1",
    config: containerConfig(),
    image: imageConfig(),
    user: { uid: 0, gid: 0, additionalGids: [0], home: "/root" },
    sandbox: {
      id: "s1",
      pausePid: 42,
      hostname: "pod-a",
      files: {
        hostname: "/run/pods/s1/hostname",
        hosts: "/run/pods/s1/hosts",
        resolvConf: "/run/pods/s1/resolv.conf",
        shm: "/run/pods/s1/shm",
      },
      privileged: false,
    },
    host: {
      cgroupVersion: 2,
      boundingCapabilities: nestedBoundingSet,
      defaultCapabilities,
      defaultEnv: [],
      defaultRlimits: [],
      pidsLimit: 0,
      architecture: "amd64",
      kernelVersion: { major: 6, minor: 18 },
    },
    rootfsPath: "/run/containers/c1/rootfs",
    cgroupPath: "/pods/s1/c1",
    devices: [],
    labels: {},
    ...changes,
  };
}

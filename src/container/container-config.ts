// A container as the caller asked for it: ContainerConfig of CRI v1, checked and normalised at the API edge.
import type {
  IdMapping,
  LinuxResources,
  NamespaceOptions,
  SecurityProfile,
  SelinuxOptions,
} from "../sandbox/sandbox-config.ts";

export interface ContainerMount {
  /** Absolute path inside the container. */
  containerPath: string;
  /** Absolute path on the host; "" with `image`. */
  hostPath: string;
  readonly: boolean;
  recursiveReadOnly: boolean;
  propagation: "private" | "host-to-container" | "bidirectional";
  selinuxRelabel: boolean;
  uidMappings: IdMapping[];
  gidMappings: IdMapping[];
  /** An image to mount instead of a host path. */
  image?: { reference: string; userSpecified: string; subPath: string };
}

export interface ContainerDevice {
  containerPath: string;
  hostPath: string;
  /** Any of "r", "w", "m". */
  permissions: string;
}

export interface ContainerSecurity {
  namespaces: NamespaceOptions;
  privileged: boolean;
  readonlyRootfs: boolean;
  noNewPrivs: boolean;
  runAsUser?: number;
  runAsGroup?: number;
  runAsUsername: string;
  supplementalGroups: number[];
  supplementalGroupsPolicy: "merge" | "strict";
  capabilities: { add: string[]; drop: string[]; addAmbient: string[] };
  maskedPaths: string[];
  readonlyPaths: string[];
  /** Not given: unconfined, as the CRI has it. */
  seccomp?: SecurityProfile;
  apparmor?: SecurityProfile;
  selinux?: SelinuxOptions;
}

export interface ContainerConfig {
  metadata: { name: string; attempt: number };
  /** `reference`: image id or reference to run; `userSpecified`: what the pod's author wrote. */
  image: {
    reference: string;
    userSpecified: string;
    annotations: Record<string, string>;
    runtimeHandler: string;
  };
  command: string[];
  args: string[];
  workingDir: string;
  /** Values are bytes: an environment need not be UTF-8. */
  envs: { key: string; value: Uint8Array }[];
  mounts: ContainerMount[];
  devices: ContainerDevice[];
  cdiDevices: string[];
  labels: Record<string, string>;
  annotations: Record<string, string>;
  /** Relative to the sandbox's log directory; "" keeps no log. */
  logPath: string;
  stdin: boolean;
  stdinOnce: boolean;
  tty: boolean;
  resources: LinuxResources;
  security: ContainerSecurity;
  /** Signal name such as "SIGUSR1"; undefined: the image's, then SIGTERM. */
  stopSignal?: string;
}

// Requests for pods and containers as the kubelet sends them, with what a test wants to be different.

import { v1 } from "../../cri-api/runtime/v1/api.js";

export interface PodOptions {
  name: string;
  /** Where the log files of its containers go. */
  logDirectory: string;
  hostNetwork?: boolean;
  runtimeHandler?: string;
  /** Merged into the config at the top. */
  more?: v1.PodSandboxConfigSent;
}

export interface ContainerOptions {
  name: string;
  image: string;
  command?: string[];
  args?: string[];
  attempt?: number;
  /** Merged into the config at the top. */
  more?: v1.ContainerConfigSent;
}

/** A sandbox config whose uid is the pod's name; namespace "test". */
export function podConfig(options: PodOptions): v1.PodSandboxConfigSent {
  const { name, logDirectory, hostNetwork = false, more = {} } = options;
  const { POD, CONTAINER, NODE } = v1.NamespaceMode;
  const namespaceOptions = { network: hostNetwork ? NODE : POD, pid: CONTAINER, ipc: POD };
  return {
    metadata: { name, uid: name, namespace: "test", attempt: 0 },
    hostname: hostNetwork ? "" : name,
    logDirectory,
    dnsConfig: { servers: ["127.0.0.1"], searches: [], options: [] },
    labels: { app: "test" },
    annotations: {},
    linux: { securityContext: { namespaceOptions } },
    ...more,
  };
}

/** A container config that logs to `<name>.log` in the pod's log directory. */
export function containerConfig(options: ContainerOptions): v1.ContainerConfigSent {
  const { name, image, command = [], args = [], attempt = 0, more = {} } = options;
  return {
    metadata: { name, attempt },
    image: { image, userSpecifiedImage: image },
    command,
    args,
    logPath: `${name}.log`,
    labels: { app: "test" },
    linux: { resources: {}, securityContext: { namespaceOptions: { pid: v1.NamespaceMode.CONTAINER } } },
    ...more,
  };
}

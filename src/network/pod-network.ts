// What the sandbox use cases ask of a network, whoever provides it: the embedded bridge or CNI plugins.

export type PortProtocol = "tcp" | "udp" | "sctp";

export interface PortMapping {
  protocol: PortProtocol;
  containerPort: number;
  /** 0: the container port is informative only, nothing is opened on the host. */
  hostPort: number;
  /** "" for all addresses of the host. */
  hostIp: string;
}

export interface AttachRequest {
  sandboxId: string;
  pod: { name: string; namespace: string; uid: string };
  /** A bind mount of the pod's network namespace; lives until after detach. */
  netnsPath: string;
  /** An open descriptor of the same namespace. The caller closes it. */
  netnsFd: number;
  /** A NETLINK_ROUTE socket that was made inside the namespace. The caller closes it. */
  routeSocket: number;
  portMappings: readonly PortMapping[];
  annotations: Readonly<Record<string, string>>;
  /** What the pod's resolv.conf says, where the caller gave it. */
  dns?: { servers: string[]; searches: string[]; options: string[] };
  /** Absolute path, "" or absent where the caller named none. */
  cgroupParent?: string;
}

export interface NetworkAttachment {
  /** Addresses without prefix length; the first is the pod's primary one. */
  ips: string[];
  /** Name of the interface inside the pod, "eth0". */
  interfaceName: string;
}

export interface DetachRequest {
  sandboxId: string;
  pod: { name: string; namespace: string; uid: string };
  /** The pin may be gone (after a reboot): detach still has to release addresses and port rules. */
  netnsPath: string;
  portMappings: readonly PortMapping[];
}

export interface NetworkCondition {
  ready: boolean;
  /** CamelCase word, "" when ready. */
  reason: string;
  message: string;
}

/**
 * A pod network. All state of an attachment is derivable from the sandbox id, so that `detach` works after a crash
 * in the middle of `attach`, and twice. `attach` that fails leaves nothing behind, or what `detach` removes.
 */
export interface PodNetwork {
  condition(): NetworkCondition;
  attach(request: AttachRequest): Promise<NetworkAttachment>;
  /** Idempotent. */
  detach(request: DetachRequest): Promise<void>;
  /** Rejects with the reason when the attachment is no longer what attach made. */
  check(sandboxId: string): Promise<void>;
  /** Called once at start: takes up what lives in this process (port proxies) and removes what belongs to no live sandbox. */
  recover(live: readonly DetachRequest[]): Promise<void>;
  /** The address ranges the cluster gave this node, separated by a comma; checked by the caller. */
  setPodCidr?(cidr: string): void;
  /** Releases what lives in this process; attachments stay. */
  close(): Promise<void>;
}

// What the API edge asks of the rest of the daemon. The composition root gathers the use cases into these shapes;
// the RPC files convert the wire into them and back, and know nothing else.
//
// Ids may be given as unambiguous prefixes everywhere. Methods that return a value instead of a promise answer from
// memory: a list or a status must never wait for a disk or a lock (containerd#5325).
import type { ContainerConfig } from "../container/container-config.ts";
import type { ContainerRecord, ContainerState } from "../container/container-record.ts";
import type { ImageView } from "../image/image-record.ts";
import type { FilesystemUsage, PullRequest } from "../image/image-service.ts";
import type { LinuxResources, SandboxConfig } from "../sandbox/sandbox-config.ts";
import type { SandboxRecord } from "../sandbox/sandbox-record.ts";

export interface SandboxView {
  readonly record: SandboxRecord;
  readonly isReady: boolean;
}

export interface SandboxUseCases {
  /** Joins or returns the run of an earlier call with the same metadata. @throws CricketError */
  run(config: SandboxConfig, runtimeHandler: string): Promise<{ readonly id: string }>;
  /** Idempotent; an unknown id is a success. */
  stop(id: string): Promise<void>;
  /** Idempotent; an unknown id is a success. Removes the sandbox's containers by force. */
  remove(id: string): Promise<void>;
  /** @throws CricketError not-found */
  get(id: string): SandboxView;
  list(): readonly SandboxView[];
  /** Absent members stay as they are. @throws CricketError not-found, failed-precondition when not ready */
  updateResources(
    id: string,
    change: { resources?: LinuxResources; overhead?: LinuxResources },
  ): Promise<void>;
  /** For verbose status: shown as JSON under the key "info". crictl reads `pid` and `runtimeSpec`. */
  describe(id: string): Promise<object>;
}

export interface ContainerView {
  readonly record: ContainerRecord;
  readonly state: ContainerState;
}

export interface ExecRequest {
  containerId: string;
  command: readonly string[];
  /** 0: none. */
  timeoutMs: number;
  signal: AbortSignal;
}

export interface ExecResult {
  stdout: Uint8Array;
  stderr: Uint8Array;
  exitCode: number;
}

export interface ContainerUseCases {
  /** @throws CricketError not-found for the sandbox or the image, failed-precondition for a sandbox that is not ready */
  create(sandboxId: string, config: ContainerConfig): Promise<{ readonly id: string }>;
  start(id: string): Promise<void>;
  /** Idempotent; an unknown id is a success. */
  stop(id: string, timeoutMs: number): Promise<void>;
  /** Idempotent; an unknown id is a success. Stops a running container by force. */
  remove(id: string): Promise<void>;
  /** @throws CricketError not-found */
  get(id: string): ContainerView;
  list(): readonly ContainerView[];
  /** What is set in the cgroup now; of an ended container what was set last. @throws CricketError not-found */
  resources(id: string): LinuxResources;
  /** For verbose status: shown as JSON under the key "info". crictl reads `pid`, `sandboxID` and `runtimeSpec`. */
  describe(id: string): Promise<object>;
  updateResources(id: string, resources: LinuxResources, annotations: Record<string, string>): Promise<void>;
  reopenLog(id: string): Promise<void>;
  /** @throws CricketError deadline-exceeded at the time-out, when the whole tree of processes is dead */
  execSync(request: ExecRequest): Promise<ExecResult>;
  /** Resolves when the container has ended; its record then has `end`. Rejects when `signal` is aborted. */
  wait(id: string, signal: AbortSignal): Promise<ContainerView>;
  /** Writes an archive. @throws CricketError unimplemented where the container's runtime or this machine cannot */
  checkpoint(request: { containerId: string; location: string; timeoutMs: number }): Promise<void>;
  /** The launch program of the container as text, one numbered step a line. */
  explain(id: string): Promise<string>;
}

/** `ImageService` of src/image has all of these but `remove`, which also needs the ids of the images in use. */
export interface ImageUseCases {
  pull(request: PullRequest): Promise<{ imageId: string }>;
  /** With a reference: the one it resolves to, or none. */
  list(reference?: string): readonly ImageView[];
  /** By id, id prefix, tag, digest or short name; equal answers for all of them. Undefined: not on this node. */
  status(reference: string): ImageView | undefined;
  /** The image config as JSON text, for verbose status. */
  describe(reference: string): Promise<string | undefined>;
  /** All names of the image. Idempotent. @throws CricketError failed-precondition when a container uses it */
  remove(reference: string): Promise<void>;
  /** Mount points are directories the kubelet calls statfs on. */
  fsInfo(): { images: FilesystemUsage; containers: FilesystemUsage };
}

export interface PressureAverages {
  totalMicroseconds: bigint;
  avg10: number;
  avg60: number;
  avg300: number;
}

export interface Pressure {
  some: PressureAverages;
  full: PressureAverages;
}

/** Optional: what the kernel does not tell here (no PSI on cgroup v1, no swap accounting, no earlier sample). */
export interface ResourceUsage {
  timestampNs: bigint;
  cpu: { usageCoreNs: bigint; usageNanoCores?: bigint; pressure?: Pressure };
  memory: {
    workingSetBytes: bigint;
    /** Limit minus working set; absent without a limit. */
    availableBytes?: bigint;
    usageBytes: bigint;
    rssBytes: bigint;
    pageFaults: bigint;
    majorPageFaults: bigint;
    pressure?: Pressure;
  };
  swap?: { availableBytes?: bigint; usageBytes: bigint };
  ioPressure?: Pressure;
}

export interface ContainerUsage {
  container: ContainerView;
  /** Absent for a container without processes. */
  usage?: ResourceUsage;
  writableLayer?: { timestampNs: bigint; mountpoint: string; usedBytes: bigint; inodesUsed: bigint };
}

export interface InterfaceUsage {
  name: string;
  rxBytes: bigint;
  rxErrors: bigint;
  txBytes: bigint;
  txErrors: bigint;
}

export interface SandboxUsage {
  sandbox: SandboxView;
  usage?: ResourceUsage;
  network?: { timestampNs: bigint; interfaces: readonly InterfaceUsage[] };
  processCount?: bigint;
  containers: readonly ContainerUsage[];
}

export interface StatsUseCases {
  ofContainers(containers: readonly ContainerView[]): Promise<readonly ContainerUsage[]>;
  ofSandboxes(sandboxes: readonly SandboxView[]): Promise<readonly SandboxUsage[]>;
  metricDescriptors(): readonly MetricDescriptor[];
  /** Of ready sandboxes. `use` takes each pod as it comes: all at once are a hundred bytes for every number in them. */
  metricsOf<T>(sandboxes: readonly SandboxView[], use: (pod: PodMetrics) => T): Promise<readonly T[]>;
}

export interface MetricDescriptor {
  readonly name: string;
  readonly help: string;
  readonly labelKeys: readonly string[];
}

export interface MetricSample {
  name: string;
  type: "counter" | "gauge";
  /** As many as the descriptor of that name has keys. */
  labelValues: readonly string[];
  value: bigint;
}

export interface PodMetrics {
  sandboxId: string;
  samples: readonly MetricSample[];
  containers: readonly { containerId: string; samples: readonly MetricSample[] }[];
}

/** What happened to a sandbox or container, with its pod as it was at that moment. */
export interface LifecycleEvent {
  objectId: string;
  change: "created" | "started" | "stopped" | "deleted";
  /** Strictly increasing from event to event. */
  createdAtNs: bigint;
  sandbox?: SandboxView;
  containers: readonly ContainerView[];
}

export interface EventSubscription extends Disposable {
  /**
   * Waits for events; at least one, oldest first.
   * @throws CricketError resource-exhausted for a subscriber that was too slow, unavailable when the daemon stops
   */
  take(signal: AbortSignal): Promise<readonly LifecycleEvent[]>;
}

export interface EventUseCases {
  subscribe(): EventSubscription;
  /** The clock the events are stamped from. */
  nowNs(): bigint;
}

export interface NodeCondition {
  type: "RuntimeReady" | "NetworkReady";
  status: boolean;
  /** CamelCase word; "" when the condition is met. */
  reason: string;
  message: string;
}

export interface NodeStatus {
  conditions: readonly NodeCondition[];
  /** Has the default handler under the name "". */
  handlers: readonly { name: string; recursiveReadOnlyMounts: boolean; userNamespaces: boolean }[];
  features: { supplementalGroupsPolicy: boolean; userNamespacesHostNetwork: boolean };
}

export interface NodeUseCases {
  version(): { runtimeName: string; runtimeVersion: string };
  status(): NodeStatus;
  /** For verbose status, each shown as JSON under its key: "config", "security". Without secrets. */
  describe(): Promise<Readonly<Record<string, object>>>;
  cgroupDriver(): "systemd" | "cgroupfs";
  /** Whether there is a runtime handler of this name; "" is the default. */
  hasHandler(name: string): boolean;
  updatePodCidr(cidr: string): Promise<void>;
}

/** Which streams of a session a client wants. */
export interface StreamChoice {
  tty: boolean;
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
}

/** Each gives the address at which the session is served, once, within a minute. */
export interface StreamingUseCases {
  /** @throws CricketError not-found, failed-precondition when the container does not run */
  exec(containerId: string, command: readonly string[], streams: StreamChoice): string;
  /** @throws CricketError not-found, failed-precondition when the container does not run */
  attach(containerId: string, streams: StreamChoice): string;
  /** As attach, of a container in state created, which the session starts. @throws CricketError as attach */
  startAttached(containerId: string, streams: StreamChoice): string;
  /** @throws CricketError not-found, failed-precondition when the sandbox is not ready */
  portForward(sandboxId: string, ports: readonly number[]): string;
}

export interface UseCases {
  sandboxes: SandboxUseCases;
  containers: ContainerUseCases;
  images: ImageUseCases;
  stats: StatsUseCases;
  streaming: StreamingUseCases;
  events: EventUseCases;
  node: NodeUseCases;
}

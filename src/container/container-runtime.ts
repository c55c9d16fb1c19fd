// How the containers of a runtime handler are made and driven: by the embedded runtime, or by another OCI runtime under
// the same monitor. What is not here is the same for both: records, logs, attach, exit status, stats.
import type { CgroupResources } from "../linux/cgroup/cgroup-resources.ts";
import type { Monitor } from "../linux/monitor.ts";
import type { LinuxResources } from "../sandbox/sandbox-config.ts";
import type { ContainerRecord, ContainerUser } from "./container-record.ts";
import type { Container } from "./container-store.ts";
import type { LateHooks } from "./oci-hooks.ts";
import type { LaunchRequest } from "./prepare-launch.ts";
import type { ExecParts, PreparedExec } from "./prepare-exec.ts";
import type { TerminalSize } from "./session-streams.ts";

export interface LaunchedContainer {
  /** Its container waits to be started. */
  monitor: Monitor;
  user: ContainerUser;
  /** As in ContainerRecord. */
  rawEnv: Uint8Array[] | undefined;
  /** As in ContainerRecord: what is not left to the runtime. */
  hooks: LateHooks | undefined;
}

export interface ExecOfContainer {
  container: Container;
  command: readonly string[];
  terminal?: TerminalSize | undefined;
}

/** Directories that exist. */
export interface CheckpointPlaces {
  images: string;
  /** For logs. */
  work: string;
}

/** A container without a process yet. */
export type RestorableContainer = Omit<LaunchedContainer, "monitor">;

export interface CheckpointRun extends CheckpointPlaces {
  whileStopped: () => Promise<void>;
  /** Aborted: it is given up at its next step. */
  signal: AbortSignal | undefined;
}

export interface ContainerRuntime {
  launch(request: LaunchRequest): Promise<LaunchedContainer>;
  /** Instead of `launch`, for a container whose processes come from a checkpoint: all but those. */
  prepareRestore(request: LaunchRequest): Promise<RestorableContainer>;
  /** Makes the processes; they run. `signal` aborted: whatever is there of them is killed. */
  restore(request: LaunchRequest, signal: AbortSignal): Promise<Monitor>;
  /** Lets a launched container run. When it fails, what is left of the container is the caller's to kill. */
  start(container: Container, monitor: Monitor): Promise<void>;
  /** After a restart of the daemon: whether `start` had got that far. */
  hasStarted(container: Container, monitor: Monitor): Promise<boolean>;
  prepareExec(exec: ExecOfContainer, parts: ExecParts): PreparedExec;
  /** To the container's first process; one that has gone is no failure. */
  signal(container: Container, signal: number): Promise<void>;
  /** SIGKILL to all of it; whether that was enough is seen elsewhere. */
  kill(container: Container): Promise<void>;
  /** `more`: what the CRI has no field for. */
  update(container: Container, resources: LinuxResources, more: CgroupResources): Promise<void>;
  /** What the container holds beyond cgroup and layer; idempotent, also for one that was made in part. */
  release(record: ContainerRecord): Promise<void>;
  /** Why there can be no checkpoints; undefined where there can. */
  missingForCheckpoints(): string | undefined;
  /** Writes the processes of a container, which goes on. `whileStopped` runs where possible before it does. */
  checkpoint(container: Container, request: CheckpointRun): Promise<void>;
  /** The launch as text, one numbered step a line. */
  explain(container: Container): string;
}

export interface HandlerStatus {
  name: string;
  recursiveReadOnlyMounts: boolean;
  userNamespaces: boolean;
}

export interface RuntimeHandler {
  runtime: ContainerRuntime;
  /** Answered from memory. */
  status(): Omit<HandlerStatus, "name">;
}

/** All runtime handlers of the node. */
export class ContainerRuntimes {
  readonly #handlers: ReadonlyMap<string, RuntimeHandler>;
  readonly #missing: (handler: string) => ContainerRuntime;

  /** `missing` stands in for a handler that is not configured any more but still has containers. */
  constructor(handlers: ReadonlyMap<string, RuntimeHandler>, missing: (handler: string) => ContainerRuntime) {
    this.#handlers = handlers;
    this.#missing = missing;
  }

  /** "" is the default. */
  has(handler: string): boolean {
    return this.#handlers.has(handler);
  }

  hasUserNamespaces(handler: string): boolean {
    return this.#handlers.get(handler)?.status().userNamespaces === true;
  }

  of({ runtimeHandler = "" }: ContainerRecord): ContainerRuntime {
    return this.#handlers.get(runtimeHandler)?.runtime ?? this.#missing(runtimeHandler);
  }

  statuses(): HandlerStatus[] {
    return [...this.#handlers].map(([name, handler]) => ({ name, ...handler.status() }));
  }
}

// The record of a container on disk, and how its state follows from facts.
//
//   intent ──► CREATED ──► RUNNING ──► EXITED ──► (record deleted)
//     │           │                      ▲
//     │           └──────────────────────┘  start failed, or stopped before it was started
//     └── unwind, when a step fails or the daemon died in between
//
// RUNNING is never stored: it is "start time set, no end known, init alive". The end is known from the monitor's
// exit file, or from the record when start itself failed.
import type { IntelRdt } from "../oci/linux-spec.ts";
import type { LinuxResources, SandboxMetadata } from "../sandbox/sandbox-config.ts";
import type { ProcessIdentity } from "../sandbox/sandbox-record.ts";
import type { ContainerConfig } from "./container-config.ts";
import type { ImageVolume } from "./image-volumes.ts";
import type { LateHooks } from "./oci-hooks.ts";

export interface ContainerImage {
  /** "sha256:<config digest>". */
  id: string;
  /** Repo digest, or the id for images without one: never empty, the kubelet needs it. */
  ref: string;
  /** A tag of the image, or what the caller gave. */
  name: string;
}

export interface ContainerUser {
  uid: number;
  gid: number;
  supplementalGroups: number[];
}

export interface ContainerEnd {
  exitCode: number;
  reason: "Completed" | "Error" | "OOMKilled" | "StartError" | "Unknown";
  message: string;
  finishedAtNs: bigint;
}

/** Where a container's processes come from, instead of an execve. */
export interface RestoredFrom {
  /** The archive's path, or the reference of an image that holds one. */
  source: string;
  /** As the archive has it: RFC 3339, or "". */
  checkpointedAt: string;
}

export interface ContainerRecord {
  version: 1;
  id: string;
  sandboxId: string;
  sandboxMetadata: SandboxMetadata;
  /** The sandbox's; absent or "" is the default. */
  runtimeHandler?: string;
  config: ContainerConfig;
  image: ContainerImage;
  /** Images that are mounted into it. */
  imageVolumes?: ImageVolume[];
  user: ContainerUser;
  stopSignal: string;
  /** What is set now: the config's resources, changed by UpdateContainerResources. */
  resources: LinuxResources;
  /** Absolute; "" for a container without a log. */
  logPath: string;
  cgroupPath: string;
  /** As in the spec: it says which groups of resctrl go with the container. */
  intelRdt?: IntelRdt;
  bootId: string;
  createdAtNs: bigint;
  committed: boolean;
  /** "KEY=value" lines as bytes, only where one of them is not UTF-8 and config.json cannot hold them. */
  rawEnv?: Uint8Array[];
  /** OCI hooks that run after the container was created. */
  hooks?: LateHooks;
  /** Its files wait beside the writable layer until it is started; so long it has no process. */
  restoredFrom?: RestoredFrom;
  init?: ProcessIdentity;
  startedAtNs?: bigint;
  end?: ContainerEnd;
}

export type ContainerState = "created" | "running" | "exited";

/** The name under which a retry finds the first call's container. */
export function containerKey(sandboxId: string, config: ContainerConfig): string {
  return JSON.stringify([sandboxId, config.metadata.name, config.metadata.attempt]);
}

export function stateOf(record: ContainerRecord): ContainerState {
  if (record.end !== undefined) return "exited";
  return record.startedAtNs === undefined ? "created" : "running";
}

/** Created from a checkpoint, and without a process until it is started. */
export function waitsForRestore({ restoredFrom, init, end }: ContainerRecord): boolean {
  return restoredFrom !== undefined && init === undefined && end === undefined;
}

export function nowNs(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}

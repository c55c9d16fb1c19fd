// The record of a pod sandbox on disk, and the in-memory object that answers lists and statuses.
//
//   intent ──► committed ──► stopped ──► (record deleted)
//      │           │
//      └── unwind ◄┘ when a step fails, or at the next start when the daemon died in between
//
// READY is never stored: it is derived from "committed, not stopped, pause process alive".
import { memberPath } from "../linux/cgroup/cgroup-path.ts";
import type { LinuxResources, SandboxConfig } from "./sandbox-config.ts";
import type { SelinuxLabels } from "./selinux-label.ts";

export interface SandboxRecord {
  version: 1;
  id: string;
  config: SandboxConfig;
  runtimeHandler: string;
  createdAtNs: bigint;
  /** The boot this sandbox belongs to: pids and namespaces of another boot mean nothing. */
  bootId: string;
  /** Absolute cgroup path of the pod: containers and pause live in children of it. */
  cgroupPath: string;
  /** The pod cgroup was made by cricket (no cgroup_parent given) and goes with the sandbox. */
  ownsCgroup: boolean;
  /** False until everything of the sandbox exists; such a sandbox is not listed and is unwound at start. */
  committed: boolean;
  pause?: ProcessIdentity;
  ips: string[];
  /** SELinux labels of the pod, with its categories; absent without SELinux. */
  selinux?: SelinuxLabels;
  /** What UpdatePodSandboxResources said last, in place of what the config says. */
  resources?: LinuxResources;
  overhead?: LinuxResources;
  /** Set when StopPodSandbox has released everything but the record. */
  stoppedAtNs?: bigint;
}

/** A pid means something only together with its start time (field 22 of /proc/<pid>/stat): pids are reused. */
export interface ProcessIdentity {
  pid: number;
  startTimeTicks: bigint;
}

/** The name under which a retry finds the first call's sandbox; unique among live sandboxes. */
export function sandboxKey(config: SandboxConfig): string {
  const { name, namespace, uid, attempt } = config.metadata;
  return JSON.stringify([name, namespace, uid, attempt]);
}

/** The cgroup of the pause process. */
export function pauseCgroup({ id, cgroupPath }: Pick<SandboxRecord, "id" | "cgroupPath">): string {
  return memberPath(cgroupPath, id);
}

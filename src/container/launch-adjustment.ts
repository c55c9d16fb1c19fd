// What others change in the OCI spec of a container before it is launched: NRI plugins, CDI devices. In the spec's own
// terms; null takes away what is there.
import type { GrantedDevice } from "./build-devices.ts";
import type {
  BlockIoResources,
  DeviceRule,
  IntelRdt,
  MemoryPolicy,
  Namespace,
  NetDevice,
  NamespaceType,
  Resources,
  Seccomp,
} from "../oci/linux-spec.ts";
import type { Hooks, IoPriority, Mount, Rlimit, Scheduler } from "../oci/spec.ts";

export interface LaunchAdjustment {
  annotations?: Record<string, string | null>;
  env?: readonly { key: string; value: string | null }[];
  args?: readonly string[];
  /** Appended to those that are there. */
  hooks?: Hooks;
  /** By destination; a new one takes the place of the old. */
  mounts?: readonly { destination: string; mount: Mount | null }[];
  /** By path. What is granted is allowed in the device cgroup, too. */
  devices?: readonly { path: string; device: GrantedDevice | null }[];
  /** Merged member by member; `devices` are appended, `blockIO` takes the place of what there is. */
  resources?: Omit<Resources, "blockIO"> & { devices?: DeviceRule[]; blockIO?: BlockIoResources | null };
  /** Absolute. */
  cgroupsPath?: string;
  oomScoreAdj?: number;
  ioPriority?: IoPriority;
  scheduler?: Scheduler;
  seccomp?: Seccomp;
  namespaces?: readonly { type: NamespaceType; namespace: Namespace | null }[];
  sysctl?: Record<string, string | null>;
  /** By type; a new one takes the place of the old. */
  rlimits?: readonly Rlimit[];
  additionalGids?: readonly number[];
  /** By the name on the host. */
  netDevices?: Record<string, NetDevice | null>;
  memoryPolicy?: MemoryPolicy;
  /** null: none at all. */
  intelRdt?: IntelRdt | null;
}

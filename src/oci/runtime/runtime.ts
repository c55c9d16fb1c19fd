// What the verbs share.
import type { HelperBinary } from "../../linux/helper-binary.ts";
import type { CgroupManager } from "../../linux/cgroup/cgroup-manager.ts";
import type { SystemdCgroupManager } from "../../linux/systemd/systemd-cgroup-manager.ts";
import type { ContainerState, RuntimeStore } from "./container-store.ts";

export interface Runtime {
  store: RuntimeStore;
  /** The static programs; loaded by the verbs that launch something. */
  helper: () => HelperBinary;
  /** --strict: what would be a warning about a configuration is an error. */
  strict: boolean;
  /** --systemd-cgroup: new containers become scopes. */
  usesSystemd: boolean;
  /** Loaded by the verbs that make, change or remove a scope. */
  systemd: () => Promise<SystemdCgroupManager>;
  /** --debug: takes a line of the log. */
  debug?: ((message: string) => void) | undefined;
}

/** Who made the container's cgroup, whatever the command line says now. */
export async function cgroupsOf(runtime: Runtime, state: ContainerState): Promise<CgroupManager> {
  return state.cgroupManager === "systemd" ? runtime.systemd() : runtime.store.cgroups;
}

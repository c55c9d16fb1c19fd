// Those beside the runtime who have a say in the life of containers, such as NRI plugins. What does not answer with a
// promise is not waited for: with nobody there, none of this costs anything.
import type { CgroupResources } from "../linux/cgroup/cgroup-resources.ts";
import type { Spec } from "../oci/spec.ts";
import type { LinuxResources } from "../sandbox/sandbox-config.ts";
import type { Sandbox } from "../sandbox/sandbox-store.ts";
import type { Container } from "./container-store.ts";
import type { LaunchAdjustment } from "./launch-adjustment.ts";

export interface LaunchSubject {
  container: Container;
  sandbox: Sandbox;
  /** As the config and all participants before have made it. */
  spec: Spec;
}

/** An update of a live container: 0 and "" leave what is set. */
export interface ResourceChange {
  resources: LinuxResources;
  /** What the CRI has no field for. */
  more?: CgroupResources;
}

/** Who may change how a container is launched. */
export interface LaunchAdjuster {
  /** Before anything of the container runs. Applied in their order. A rejection refuses it. */
  adjustLaunch(subject: LaunchSubject): Promise<readonly LaunchAdjustment[]> | undefined;
  /** Of a container that was asked about but did not come to be. */
  launchFailed(container: Container): void;
}

export interface ContainerParticipant extends LaunchAdjuster {
  /** Before the program is executed. A rejection refuses it. */
  beforeStart(container: Container): Promise<void> | undefined;
  /** Before an update; what comes back is done in its place. A rejection refuses it. */
  adjustUpdate(container: Container, change: LinuxResources): Promise<ResourceChange> | undefined;
  afterUpdate(container: Container): void;
}

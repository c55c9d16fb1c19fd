// Devices of a container: the nodes it gets, and what its device cgroup lets it do.
import type { Device, DeviceRule } from "../oci/linux-spec.ts";

/** A device node and the access the container has to it: any of "r", "w", "m". */
export interface GrantedDevice extends Device {
  permissions: string;
  /** Where the host has it. */
  hostPath?: string;
}

const character = (major: number, minor?: number): DeviceRule => ({
  allow: true,
  type: "c",
  major,
  ...(minor === undefined ? {} : { minor }),
  access: "rwm",
});

// mknod is harmless where the node cannot be opened; the devices are those of /dev in every container, and terminals.
const defaultRules: readonly DeviceRule[] = [
  { allow: true, type: "c", access: "m" },
  { allow: true, type: "b", access: "m" },
  character(1, 3),
  character(1, 5),
  character(1, 7),
  character(1, 8),
  character(1, 9),
  character(5, 0),
  character(5, 2),
  character(136),
];

/** Privileged: everything (CRI LinuxContainerSecurityContext.privileged, item 6). Else the default set and what is granted. */
export function buildDeviceRules(privileged: boolean, devices: readonly GrantedDevice[]): DeviceRule[] {
  if (privileged) return [{ allow: true, access: "rwm" }];
  const granted = devices
    .filter(({ type }) => type === "c" || type === "b" || type === "u")
    .map(({ type, major = 0, minor = 0, permissions }): DeviceRule => ({
      allow: true,
      type: type === "b" ? "b" : "c",
      major,
      minor,
      access: permissions,
    }));
  return [{ allow: false, access: "rwm" }, ...defaultRules, ...granted];
}

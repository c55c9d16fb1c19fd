// Where the host has the devices of a spec: in a user namespace they are bound, because no node can be made there.
import { readFileSync, statSync } from "node:fs";
import { errnoOf, invalidArgument } from "../../base/errors.ts";
import { makedev } from "../../linux/files.ts";
import type { Device, Linux } from "../linux-spec.ts";
import { userNamespaceKind } from "../user-namespace.ts";

/**
 * By the path in the container; only what is not at the same path on the host.
 * @throws CricketError invalid-argument for a device that the host does not have
 */
export function findDeviceNodes(linux: Linux | undefined): Map<string, string> {
  const nodes = new Map<string, string>();
  if (userNamespaceKind(linux) === "none") return nodes;
  for (const [index, device] of (linux?.devices ?? []).entries()) {
    if (device.type === "p" || isDevice(device.path, device)) continue;
    const path = devicePath(device);
    if (path === undefined || !isDevice(path, device))
      throw invalidArgument(
        `linux.devices[${index}]: the host has no node of ${device.type} ${device.major}:${device.minor}, and none can be made in a user namespace`,
      );
    nodes.set(device.path, path);
  }
  return nodes;
}

function isDevice(path: string, { type, major = 0, minor = 0 }: Device): boolean {
  try {
    const stats = statSync(path);
    const isRightType = type === "b" ? stats.isBlockDevice() : stats.isCharacterDevice();
    return isRightType && BigInt(stats.rdev) === makedev(major, minor);
  } catch {
    return false;
  }
}

/** What the kernel calls it: sysfs(5), /sys/dev/char/1:3/uevent has "DEVNAME=null". */
function devicePath({ type, major = 0, minor = 0 }: Device): string | undefined {
  try {
    const uevent = readFileSync(
      `/sys/dev/${type === "b" ? "block" : "char"}/${major}:${minor}/uevent`,
      "utf8",
    );
    const name = /^DEVNAME=(.+)$/m.exec(uevent)?.[1];
    return name === undefined ? undefined : `/dev/${name}`;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

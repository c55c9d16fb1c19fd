// The devices of the host that a container gets: looked up when it is made.
import { readdirSync, realpathSync, statSync, type Stats } from "node:fs";
import { join, posix } from "node:path";
import { errnoOf, invalidArgument, wrapError } from "../base/errors.ts";
import type { GrantedDevice } from "./build-devices.ts";
import type { ContainerDevice } from "./container-config.ts";

/**
 * config.devices with their numbers. Links are followed; a directory stands for all devices in it.
 * @throws CricketError invalid-argument naming the device
 */
export function resolveDevices(devices: readonly ContainerDevice[]): GrantedDevice[] {
  return devices.flatMap((device, index) => resolveDevice(device, `config.devices[${index}]`));
}

function resolveDevice(device: ContainerDevice, field: string): GrantedDevice[] {
  if (!/^[rwm]+$/.test(device.permissions))
    throw invalidArgument(
      `${field}.permissions is ${JSON.stringify(device.permissions)}: not made of r, w and m`,
    );
  const containerPath = posix.normalize(device.containerPath === "" ? device.hostPath : device.containerPath);
  if (!containerPath.startsWith("/"))
    throw invalidArgument(
      `${field}.container_path is ${JSON.stringify(containerPath)}: not an absolute path`,
    );
  const { path, stats } = find(device.hostPath, field);
  const found = stats.isDirectory()
    ? listDevices(path, containerPath, device.permissions)
    : [describe(stats, { hostPath: path, path: containerPath, permissions: device.permissions })].filter(
        (entry) => entry !== undefined,
      );
  if (found.length === 0) throw invalidArgument(`${field}.host_path ${device.hostPath} is not a device`);
  return found;
}

function find(hostPath: string, field: string): { path: string; stats: Stats } {
  try {
    const path = realpathSync(hostPath);
    return { path, stats: statSync(path) };
  } catch (error) {
    throw invalidArgument(`${field}.host_path ${hostPath}: ${errnoOf(error) ?? "cannot be read"}`);
  }
}

// Filesystems of their own in /dev: every container has its own, and the host's terminals are not devices to hand out.
const notDevices = new Set(["pts", "shm", "mqueue", "fd", "console", ".lxc", ".lxd-mounts"]);

/** All device nodes in /dev, for privileged containers (CRI LinuxContainerSecurityContext.privileged, item 7). */
export function hostDevices(): GrantedDevice[] {
  try {
    return listDevices("/dev", "/dev", "rwm");
  } catch (error) {
    throw wrapError("list the devices of the host", error);
  }
}

function listDevices(directory: string, containerDirectory: string, permissions: string): GrantedDevice[] {
  const found: GrantedDevice[] = [];
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    const containerPath = join(containerDirectory, entry.name);
    if (directory === "/dev" && notDevices.has(entry.name)) continue;
    if (entry.isDirectory()) found.push(...listDevices(path, containerPath, permissions));
    if (!entry.isCharacterDevice() && !entry.isBlockDevice()) continue;
    const stats = statSync(path, { throwIfNoEntry: false });
    const place = { hostPath: path, path: containerPath, permissions };
    const device = stats === undefined ? undefined : describe(stats, place);
    if (device !== undefined) found.push(device);
  }
  return found;
}

function describe(
  stats: Stats,
  place: Pick<GrantedDevice, "hostPath" | "path" | "permissions">,
): GrantedDevice | undefined {
  if (!stats.isCharacterDevice() && !stats.isBlockDevice()) return undefined;
  return {
    type: stats.isBlockDevice() ? "b" : "c",
    ...place,
    ...deviceNumbers(stats.rdev),
    fileMode: stats.mode & 0o7777,
    uid: stats.uid,
    gid: stats.gid,
  };
}

/** gnu_dev_major(3) of a number below 2^53; major numbers beyond 12 bits do not exist. */
export function deviceNumbers(rdev: number): { major: number; minor: number } {
  const device = BigInt(rdev);
  return {
    major: Number((device >> 8n) & 0xfffn),
    minor: Number((device & 0xffn) | ((device >> 12n) & 0xfff00n)),
  };
}

// /dev: the default devices and symlinks every container has (config-linux.md#default-devices), the spec's own
// devices, and the container's terminal.
import type { Step } from "../linux/launch-program.ts";
import { makedev } from "../linux/files.ts";
import { MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID } from "../linux/mount.ts";
import type { ContainerLaunch } from "./container-launch.ts";
import { isolatedTypes } from "./compile-namespaces.ts";
import type { Device } from "./linux-spec.ts";
import type { Spec } from "./spec.ts";

const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;
const S_IFIFO = 0o010000;

const character = (path: string, major: number, minor: number): Device => ({
  type: "c",
  path,
  major,
  minor,
  fileMode: 0o666,
});

// linux/Documentation/admin-guide/devices.txt
export const defaultDevices: readonly Device[] = [
  character("/dev/null", 1, 3),
  character("/dev/zero", 1, 5),
  character("/dev/full", 1, 7),
  character("/dev/random", 1, 8),
  character("/dev/urandom", 1, 9),
  character("/dev/tty", 5, 0),
];

const symlinks: readonly (readonly [path: string, linkTarget: string])[] = [
  ["/dev/fd", "/proc/self/fd"],
  ["/dev/stdin", "/proc/self/fd/0"],
  ["/dev/stdout", "/proc/self/fd/1"],
  ["/dev/stderr", "/proc/self/fd/2"],
  ["/dev/ptmx", "pts/ptmx"],
];

const source = "OCI runtime-spec config-linux.md#default-devices";

/** Nothing where /dev itself is bound from elsewhere: that /dev is not the container's to change. */
export function compileDevices({ spec, deviceNodes }: ContainerLaunch): Step[] {
  if (isDevBound(spec)) return [];
  const given = new Map((spec.linux?.devices ?? []).map((device) => [device.path, device]));
  const devices = [...defaultDevices.filter(({ path }) => !given.has(path)), ...given.values()];
  const inUserNamespace = isolatedTypes(spec.linux).has("user");
  return [
    ...devices.map((device) =>
      inUserNamespace && device.type !== "p" ? bindDevice(device, deviceNodes) : makeDevice(device),
    ),
    ...symlinks.map(([path, linkTarget]): Step => ({
      op: "symlinkInRoot",
      linkTarget,
      path,
      because: { why: "programs expect it", source: "OCI runtime-spec runtime-linux.md#dev-symbolic-links" },
    })),
  ];
}

function isDevBound(spec: Spec): boolean {
  return (spec.mounts ?? []).some(
    ({ destination, type, options = [] }) =>
      /^\/dev\/*$/.test(destination) &&
      (type === "bind" || options.includes("bind") || options.includes("rbind")),
  );
}

function makeDevice(device: Device): Step {
  const { type, path, major = 0, minor = 0, fileMode = 0o666, uid = 0, gid = 0 } = device;
  return {
    op: "mknodInRoot",
    path,
    mode: fileType(type) | (fileMode & 0o7777),
    device: type === "p" ? 0n : makedev(major, minor),
    uid,
    gid,
    because: { why: `device ${type} ${major}:${minor}`, source },
  };
}

// mknod(2) needs CAP_MKNOD in the first user namespace.
function bindDevice({ path }: Device, nodes: ContainerLaunch["deviceNodes"]): Step {
  return {
    op: "mountTree",
    source: { hostPath: nodes?.get(path) ?? path },
    recursive: false,
    set: MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
    clear: 0,
    recursiveAttributes: false,
    propagation: 0,
    target: path,
    create: "file",
    because: { why: "a user namespace cannot make device nodes, so the host's is bound", source },
  };
}

function fileType(type: Device["type"]): number {
  if (type === "b") return S_IFBLK;
  return type === "p" ? S_IFIFO : S_IFCHR;
}

/** The pseudo terminal of `process.terminal`, from the container's own devpts. */
export function compileTerminal({ spec }: ContainerLaunch): Step[] {
  if (spec.process?.terminal !== true) return [];
  const { height = 0, width = 0 } = spec.process.consoleSize ?? {};
  return [
    {
      op: "openPty",
      rows: height,
      columns: width,
      bindConsole: true,
      because: {
        why: "the terminal belongs to the container's devpts, checked to be one (CVE-2025-52565)",
        source: "OCI runtime-spec config.md#process",
      },
    },
  ];
}

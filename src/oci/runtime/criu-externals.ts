// What of a container is not its own, and so neither written by criu nor made by it: bind mounts, masks, cgroup v1
// mounts, namespaces that were joined, standard streams.
import { closeSync, fstatSync, openSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { close, O_PATH, O_RDONLY, openat2, RESOLVE_IN_ROOT } from "../../linux/files.ts";
import { readMountinfo, type MountEntry } from "../../linux/mountinfo.ts";
import { cgroupViewOf } from "../cgroup-view.ts";
import type { CgroupLayout } from "../../linux/cgroup/layout.ts";
import type { Mount, Spec } from "../spec.ts";
import { defaultDevices } from "../compile-devices.ts";
import { userNamespaceKind } from "../user-namespace.ts";
import { findDeviceNodes } from "./device-nodes.ts";
import type { External } from "./criu-request.ts";

/** The key of everything that is masked by the host's /dev/null. */
const maskKey = "/dev/null";

/** Namespaces that criu joins, and the names that runc gives them in images. */
export const joinedNamespaces = { network: "extRootNetNS", pid: "extRootPidNS" } as const;
const namespaceFiles = { network: "net", pid: "pid" } as const;

export const isBind = ({ type, options = [] }: Mount): boolean =>
  type === "bind" || options.includes("bind") || options.includes("rbind");

/** Of a running container; `pid` is its first process. */
export function externalsOfDump(pid: number, spec: Spec): External[] {
  return [
    ...externalMounts(readMountinfo(pid), spec, (path) => mountIdOf(pid, path)),
    ...externalNamespaces(pid, spec),
  ];
}

/** The mounts as the kernel has them: what the spec calls /var/run/x may be mounted on /run/x. */
export function externalMounts(
  mounts: readonly MountEntry[],
  { mounts: listed = [], linux }: Spec,
  mountIdOf: (path: string) => number | undefined,
): External[] {
  const byId = new Map(mounts.map((mount) => [mount.mountId, mount]));
  const at = (path: string): MountEntry | undefined => byId.get(mountIdOf(path) ?? -1);
  const binds = listed.filter(isBind).flatMap(({ destination }) => {
    const mount = at(destination);
    return mount === undefined ? [] : [`mnt[${mount.mountPoint}]:${destination}`];
  });
  const devices = boundDevices(linux).flatMap((path) => {
    const mount = at(path);
    return mount?.mountPoint === path ? [`mnt[${path}]:${path}`] : [];
  });
  const masks = (linux?.maskedPaths ?? []).flatMap((path) => {
    const mount = at(path);
    // "/null" where /dev is a devtmpfs, as the root of a mount is named from its filesystem's.
    return mount?.root.endsWith("/null") === true ? [`mnt[${mount.mountPoint}]:${maskKey}`] : [];
  });
  const cgroups = mounts
    .filter(({ mountPoint }) => isCgroupV1Bind(mountPoint, mounts, listed))
    .map(({ mountPoint }) => `mnt[${mountPoint}]:${mountPoint}`);
  return [...new Set([...binds, ...devices, ...masks, ...cgroups])];
}

/** In a user namespace no device can be made: they are the host's. */
function boundDevices(linux: Spec["linux"]): string[] {
  if (userNamespaceKind(linux) === "none") return [];
  return [...defaultDevices, ...(linux?.devices ?? [])]
    .filter(({ type }) => type !== "p")
    .map(({ path }) => path);
}

function isCgroupV1Bind(path: string, mounts: readonly MountEntry[], listed: readonly Mount[]): boolean {
  return listed.some(
    ({ type, destination }) =>
      (type === "cgroup" || type === "cgroup2") &&
      path.startsWith(`${destination}/`) &&
      mounts.some(
        ({ mountPoint, filesystemType }) => mountPoint === destination && filesystemType === "tmpfs",
      ),
  );
}

/** The mount that a path of the container lies on, as openat2(2) walks there without leaving its root. */
export function mountIdOf(pid: number, path: string): number | undefined {
  const root = openSync(`/proc/${pid}/root`, O_PATH);
  try {
    const fd = openat2(root, path, { flags: O_PATH, resolve: RESOLVE_IN_ROOT });
    try {
      return mountIdOfDescriptor("self", fd);
    } finally {
      close(fd);
    }
  } catch {
    // A masked path that the kernel does not have.
    return undefined;
  } finally {
    closeSync(root);
  }
}

function mountIdOfDescriptor(pid: number | "self", fd: number): number | undefined {
  const id = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, "utf8"))?.[1];
  return id === undefined ? undefined : Number(id);
}

function externalNamespaces(pid: number, { linux }: Spec): External[] {
  return joinedTypes(linux?.namespaces).map((type) => {
    const { ino } = statSync(`/proc/${pid}/ns/${namespaceFiles[type]}`);
    return `${namespaceFiles[type]}[${ino}]:${joinedNamespaces[type]}`;
  });
}

type Namespaces = NonNullable<NonNullable<Spec["linux"]>["namespaces"]>;

function joinedTypes(namespaces: Namespaces = []): ("network" | "pid")[] {
  return namespaces.flatMap(({ type, path }) =>
    path !== undefined && (type === "network" || type === "pid") ? [type] : [],
  );
}

/** For a restore: where the mounts come from, by the keys of the dump. criu skips those that it has no use for. */
export function externalsOfRestore(spec: Spec, cgroupPath: string, layout: CgroupLayout): External[] {
  const { mounts = [], linux } = spec;
  const view = cgroupViewOf(cgroupPath, layout);
  const nodes = findDeviceNodes(linux);
  const listed = mounts.flatMap((mount) => {
    const { destination, source = "", type } = mount;
    if (isBind(mount)) return [`mnt[${destination}]:${source}`];
    if ((type !== "cgroup" && type !== "cgroup2") || view.version === 2) return [];
    return view.hierarchies.map(({ name, path }) => `mnt[${destination}/${name}]:${path}`);
  });
  const devices = boundDevices(linux).map((path) => `mnt[${path}]:${nodes.get(path) ?? path}`);
  const masks = (linux?.maskedPaths ?? []).length === 0 ? [] : [`mnt[${maskKey}]:${maskKey}`];
  return [...new Set([...listed, ...devices, ...masks])];
}

/** Standard input, output and error as `--inherit-fd` names them later; what lies outside of the container is external. */
export function standardStreams(pid: number): { names: string[]; externals: External[] } {
  const inside = new Set(readMountinfo(pid).map(({ mountId }) => mountId));
  const names: string[] = [];
  const externals: External[] = [];
  for (const index of [0, 1, 2]) {
    const outside = outsideFile(pid, index, inside);
    names.push(outside ?? linkOf(pid, index));
    if (outside !== undefined && !externals.includes(outside)) externals.push(outside);
  }
  return { names, externals };
}

function linkOf(pid: number, index: number): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${index}`);
  } catch {
    // Closed by the program.
    return "";
  }
}

function outsideFile(pid: number, index: number, inside: ReadonlySet<number>): string | undefined {
  if (!linkOf(pid, index).startsWith("/")) return undefined;
  const mountId = mountIdOfDescriptor(pid, index);
  if (mountId === undefined || inside.has(mountId)) return undefined;
  const fd = openSync(`/proc/${pid}/fd/${index}`, O_RDONLY | O_PATH);
  try {
    return `file[${mountId.toString(16)}:${fstatSync(fd).ino.toString(16)}]`;
  } finally {
    closeSync(fd);
  }
}

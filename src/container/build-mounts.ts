// The mounts of a container: what every container has, then what the CRI asks for, parents before what is in them.
import { posix } from "node:path";
import { invalidArgument } from "../base/errors.ts";
import type { Mount } from "../oci/spec.ts";
import { hostIdOf } from "../oci/user-namespace.ts";
import { podIdMaps } from "../sandbox/user-namespace.ts";
import type { ContainerSpecInput } from "./build-spec.ts";
import type { ContainerMount } from "./container-config.ts";

/** Host paths of the pod's files. */
export interface PodFiles {
  hostname: string;
  hosts: string;
  resolvConf: string;
  shm: string;
}

/**
 * A CRI mount at the place of a default one takes its place; one at /dev takes all of the default /dev away with it.
 * @throws CricketError invalid-argument naming the mount
 */
export function buildMounts(input: ContainerSpecInput): Mount[] {
  const asked = input.config.mounts.map((mount, index) => buildMount(mount, index, input));
  const taken = new Set(asked.map(({ destination }) => destination));
  const defaults = defaultMounts(input).filter(
    ({ destination }) => !taken.has(destination) && !(taken.has("/dev") && destination.startsWith("/dev/")),
  );
  return sortByDepth([...defaults, ...(input.declaredVolumes ?? []).map(volumeMount), ...asked]);
}

function volumeMount({ destination, source }: { destination: string; source: string }): Mount {
  return { destination, type: "bind", source, options: ["rbind", "rprivate", "rw"] };
}

// A mount would hide what was mounted below it before. The sort is stable: among equals the CRI's order stays.
export function sortByDepth(mounts: Mount[]): Mount[] {
  const depth = ({ destination }: Mount): number => (destination === "/" ? 0 : destination.split("/").length);
  return mounts.toSorted((a, b) => depth(a) - depth(b));
}

function defaultMounts(input: ContainerSpecInput): Mount[] {
  const { privileged } = input.config.security;
  // CRI LinuxContainerSecurityContext.privileged, item 3: sysfs (and cgroups in it) can be written to.
  const access = privileged ? "rw" : "ro";
  return [
    procMount(input),
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", ...ttyGroup(input)],
    },
    ...queueMounts(input),
    sysMount(input, access),
    {
      destination: "/sys/fs/cgroup",
      type: "cgroup",
      source: "cgroup",
      options: ["nosuid", "noexec", "nodev", "relatime", access],
    },
    {
      destination: "/dev/shm",
      type: "bind",
      source: input.sandbox.files.shm,
      options: ["rbind", "rprivate", "nosuid", "noexec", "nodev"],
    },
    ...podFileMounts(input),
  ];
}

// devpts refuses a group that the user namespace does not map; then the terminals are their owner's alone.
function ttyGroup({ config }: ContainerSpecInput): string[] {
  const gids = podIdMaps(config.security.namespaces)?.gids;
  return gids === undefined || hostIdOf(gids, 5) !== undefined ? ["gid=5"] : [];
}

// Message queues belong to the owner of the IPC namespace, too; those of the host need not be mounted anywhere.
function queueMounts({ config }: ContainerSpecInput): Mount[] {
  const { namespaces } = config.security;
  if (namespaces.ipc === "node" && namespaces.user?.mode === "pod") return [];
  return [
    {
      destination: "/dev/mqueue",
      type: "mqueue",
      source: "mqueue",
      options: ["nosuid", "noexec", "nodev"],
    },
  ];
}

function procMount({ config }: ContainerSpecInput): Mount {
  const { namespaces } = config.security;
  const options = ["nosuid", "noexec", "nodev"];
  // A procfs belongs to the owner of its pid namespace; a user namespace cannot mount one of the host's.
  if (namespaces.pid === "node" && namespaces.user?.mode === "pod")
    return {
      destination: "/proc",
      type: "bind",
      source: "/proc",
      options: ["rbind", "rprivate", ...options],
    };
  return { destination: "/proc", type: "proc", source: "proc", options };
}

function sysMount({ config }: ContainerSpecInput, access: string): Mount {
  const { namespaces } = config.security;
  const options = ["nosuid", "noexec", "nodev", access];
  // The same for sysfs and the network namespace.
  if (namespaces.network === "node" && namespaces.user?.mode === "pod")
    return {
      destination: "/sys",
      type: "bind",
      source: "/sys",
      // With all that the host has mounted in it.
      options: ["rbind", "rslave", ...options.map((option) => `r${option}`)],
    };
  return { destination: "/sys", type: "sysfs", source: "sysfs", options };
}

function podFileMounts({ config, sandbox }: ContainerSpecInput): Mount[] {
  const { hostname, hosts, resolvConf } = sandbox.files;
  const access = config.security.readonlyRootfs ? "ro" : "rw";
  const bind = (destination: string, source: string): Mount => ({
    destination,
    type: "bind",
    source,
    options: ["bind", "rprivate", "nosuid", "noexec", "nodev", access],
  });
  return [bind("/etc/hostname", hostname), bind("/etc/hosts", hosts), bind("/etc/resolv.conf", resolvConf)];
}

const propagations: Record<ContainerMount["propagation"], string> = {
  private: "rprivate",
  "host-to-container": "rslave",
  bidirectional: "rshared",
};

function buildMount(mount: ContainerMount, index: number, input: ContainerSpecInput): Mount {
  const field = `config.mounts[${index}]`;
  const destination = cleanDestination(mount.containerPath, field);
  // An image is no path of the host: a detached mount takes the place of this one.
  const source =
    mount.image === undefined ? mount.hostPath : posix.join(input.rootfsPath, "../volumes", String(index));
  if (!source.startsWith("/"))
    throw invalidArgument(`${field}.host_path is ${JSON.stringify(source)}: not an absolute path`);
  if (source.includes("\0")) throw invalidArgument(`${field}.host_path has a NUL byte`);
  return {
    destination,
    type: "bind",
    source,
    options: ["rbind", propagations[mount.propagation], accessOption(mount, field)],
    // Layers are mapped as the pod's user namespace says, before they become one mount.
    ...(mount.image === undefined ? mappings(mount) : {}),
  };
}

export function cleanDestination(path: string, field: string): string {
  if (!path.startsWith("/"))
    throw invalidArgument(`${field}.container_path is ${JSON.stringify(path)}: not an absolute path`);
  const clean = posix.normalize(path).replace(/(?<=.)\/+$/, "");
  if (clean === "/") throw invalidArgument(`${field}.container_path is "/": the root cannot be mounted over`);
  if (clean.includes("\0")) throw invalidArgument(`${field}.container_path has a NUL byte`);
  return clean;
}

// KEP-3857: recursive read-only only where nothing can be mounted into it later.
function accessOption(
  { readonly, recursiveReadOnly, propagation, image }: ContainerMount,
  field: string,
): string {
  if (!recursiveReadOnly) return readonly || image !== undefined ? "ro" : "rw";
  if (!readonly) throw invalidArgument(`${field}.recursive_read_only is set without readonly`);
  if (propagation !== "private")
    throw invalidArgument(`${field}.recursive_read_only needs private propagation`);
  return "rro";
}

function mappings(mount: ContainerMount): Pick<Mount, "uidMappings" | "gidMappings"> {
  const toSpec = ({ containerId, hostId, length }: ContainerMount["uidMappings"][number]) => ({
    containerID: containerId,
    hostID: hostId,
    size: length,
  });
  return {
    ...(mount.uidMappings.length === 0 ? {} : { uidMappings: mount.uidMappings.map(toSpec) }),
    ...(mount.gidMappings.length === 0 ? {} : { gidMappings: mount.gidMappings.map(toSpec) }),
  };
}

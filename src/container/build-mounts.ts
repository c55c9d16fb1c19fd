// The mounts of a container: what every container has, then what the CRI asks for, parents before what is in them.
import { posix } from "node:path";
import { CricketError, invalidArgument } from "../base/errors.ts";
import type { Mount } from "../oci/spec.ts";
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
  return sortByDepth([...defaults, ...asked]);
}

// A mount would hide what was mounted below it before. The sort is stable: among equals the CRI's order stays.
function sortByDepth(mounts: Mount[]): Mount[] {
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
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {
      destination: "/dev/mqueue",
      type: "mqueue",
      source: "mqueue",
      options: ["nosuid", "noexec", "nodev"],
    },
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
    return { destination: "/sys", type: "bind", source: "/sys", options: ["rbind", "rslave", ...options] };
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
  const source = mount.image === undefined ? mount.hostPath : imageSource(mount, input, field);
  if (!source.startsWith("/"))
    throw invalidArgument(`${field}.host_path is ${JSON.stringify(source)}: not an absolute path`);
  if (source.includes("\0")) throw invalidArgument(`${field}.host_path has a NUL byte`);
  return {
    destination,
    type: "bind",
    source,
    options: ["rbind", propagations[mount.propagation], accessOption(mount, field)],
    ...mappings(mount),
  };
}

function cleanDestination(path: string, field: string): string {
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

function imageSource(mount: ContainerMount, input: ContainerSpecInput, field: string): string {
  const source = input.imageMountSources?.get(mount.containerPath);
  if (source === undefined)
    throw new CricketError("unimplemented", `${field}.image: image volumes are not implemented yet`);
  return source;
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

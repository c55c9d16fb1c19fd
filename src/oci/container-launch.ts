// What compileContainer needs beside the spec: everything that is a descriptor or a fact of the host. With it the
// compilation is pure, and launches can be tested and explained without root.
import type { Descriptor } from "../linux/launch-program.ts";
import type { NamespaceType } from "./linux-spec.ts";
import type { Spec } from "./spec.ts";

/** Where the rootfs goes while the container is being made. */
export interface RootfsPlace {
  /** A detached mount: overlay, tmpfs or a clone of a directory. */
  mount: Descriptor;
  /** An existing directory of the host; nothing of it is seen or changed outside the container's mount namespace. */
  target: string;
  /**
   * The mount point that `target` lies on. Needed where the spec asks for shared propagation, because then that mount
   * has to be made private first, or the rootfs would appear on the host.
   */
  parentMount?: string;
}

/** Namespaces that exist already: a pidfd of a process that is in all of `types`, or an nsfs descriptor of one type. */
export interface NamespaceJoin {
  fd: Descriptor;
  types: readonly NamespaceType[];
}

/** The cgroup a process is put into. */
export interface CgroupJoin {
  /** cgroup v1 `tasks` files, open for writing. */
  files: readonly Descriptor[];
  /** The cgroup v2 directory. */
  directory?: Descriptor | undefined;
  /** `tasks` files of the groups of linux.intelRdt, open for writing, in the order in which they are entered. */
  rdt?: readonly Descriptor[];
}

/** What a mount of type "cgroup" shows. */
export type CgroupView =
  | { version: 2 }
  /** `name`: directory below the mount ("cpu,cpuacct"); `path`: the container's own cgroup directory on the host. */
  | { version: 1; hierarchies: readonly { name: string; path: string; links: readonly string[] }[] };

/** A BPF program made by compileSeccomp. */
export interface SeccompFilter {
  program: Uint8Array;
  /** SECCOMP_FILTER_FLAG_ bits. */
  flags: number;
  /** The profile has SCMP_ACT_NOTIFY: the notify descriptor goes to the parent. */
  listener: boolean;
}

export interface ContainerLaunch {
  id: string;
  spec: Spec;
  /** process.env as bytes, "KEY=value" each. */
  env: readonly Uint8Array[];
  rootfs: RootfsPlace;
  /** One entry for every namespace that the spec names with a path. */
  join: readonly NamespaceJoin[];
  /** An nsfs descriptor of the user namespace that is joined, for mounts that map ids as it does. */
  userNamespace?: Descriptor;
  cgroup: CgroupJoin;
  cgroupView: CgroupView;
  /** Where the host has a device that the spec names, by the path in the container; else it is at the same path. */
  deviceNodes?: ReadonlyMap<string, string>;
  /** Detached mounts by destination, which take the place of the bind source in the spec: image volumes. */
  detached?: ReadonlyMap<string, Descriptor>;
  /** Bind mounts, by destination, that begin with what they cover: volumes that an image declares. */
  copyUp?: ReadonlySet<string>;
  /** Made in the rootfs where they are missing. */
  directories?: readonly string[];
  /** The compiled linux.seccomp; must be given exactly when the spec has one. */
  seccomp?: SeccompFilter;
  /** The most that can be given, for a runtime that is itself confined; not given: what the helper itself has. */
  boundingCapabilities?: bigint;
  /** The root of the host cannot be left with pivot_root(2): it is the initramfs. */
  noPivot?: boolean;
  /** A mount namespace to begin in, where the spec allows it, instead of a copy of the host's. */
  emptyNamespace?: Descriptor;
  /** For the detached host. */
  withoutMonitor?: boolean;
  /** Sent to the container's first process when the monitor dies, so that it never runs on unwatched. */
  parentDeathSignal?: number;
}

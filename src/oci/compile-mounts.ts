// The mounts of config.json, in its order (config.md#mounts: "MUST be mounted in the listed order").
import { CricketError, invalidArgument } from "../base/errors.ts";
import type {
  Because,
  CopyUp,
  FsOptionValue,
  MountSource,
  MountTree,
  Step,
  Tree,
} from "../linux/launch-program.ts";
import {
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MS_REC,
  MS_SLAVE,
} from "../linux/mount.ts";
import type { CgroupView, ContainerLaunch } from "./container-launch.ts";
import { MountIdmaps } from "./mount-idmaps.ts";
import { parseMountOptions, type Attributes, type MountOptions } from "./mount-options.ts";
import { wantsSharedMounts } from "./shared-mounts.ts";
import type { Mount, Spec } from "./spec.ts";
import { userNamespaceKind } from "./user-namespace.ts";

const source = "OCI runtime-spec config.md#mounts";

/** Mounts, and what has to wait until everything inside them is made. */
export interface CompiledMounts {
  /** User namespaces for idmapped mounts: the first steps of all. */
  userNamespaces: Step[];
  /** Bind mounts whose sources cannot be reached from where they are mounted: opened before that is entered. */
  opens: Step[];
  steps: Step[];
  /** Read-only tmpfs: closed for writing once the mount points and devices in them exist. */
  closing: Step[];
}

export function compileMounts(launch: ContainerLaunch): CompiledMounts {
  const idmaps = new MountIdmaps(launch);
  const compiled: CompiledMounts = { userNamespaces: idmaps.steps, opens: [], steps: [], closing: [] };
  for (const [index, mount] of (launch.spec.mounts ?? []).entries()) {
    const at = `mounts[${index}]`;
    const entry = { mount, options: parseMountOptions(mount.options ?? [], `${at}.options`), at };
    const isBind = entry.options.bind !== "none" || mount.type === "bind";
    const idmap = idmaps.of(mount, entry.options, at);
    refuseMisplaced(entry, isBind);
    if (entry.options.remount) compiled.steps.push(...remount(entry));
    else if (isBind) addBind(compiled, launch, entry, idmap);
    else if (mount.type === "cgroup" || mount.type === "cgroup2") addCgroup(compiled, launch, entry);
    else addFilesystem(compiled, launch, entry);
  }
  const reason = openReason(launch);
  if (reason !== undefined) openBefore(compiled, reason);
  return compiled;
}

// An option without effect would be one that is ignored.
function refuseMisplaced({ mount, options, at }: MountEntry, isBind: boolean): void {
  const isMapped =
    options.idmap !== "none" || mount.uidMappings !== undefined || mount.gidMappings !== undefined;
  if (isMapped && (!isBind || options.remount))
    throw invalidArgument(`${at}: only a bind mount can have its ids mapped`);
  if (options.tmpcopyup && mount.type !== "tmpfs")
    throw invalidArgument(
      `${at}.options has tmpcopyup, but the type is ${mount.type ?? "none"}: only a tmpfs can`,
    );
}

/** mount(8) -o remount: new attributes for what an earlier mount has put there. */
function remount({ mount, options, at }: MountEntry): Step[] {
  const [first] = options.data;
  if (first !== undefined)
    throw new CricketError("unimplemented", `${at}.options: remount of a filesystem with ${first[0]}`);
  const steps = [setAttributes(mount.destination, options.attributes)];
  if (hasAny(options.recursive)) steps.push(setAttributes(mount.destination, options.recursive, true));
  if (options.propagation !== 0) steps.push(propagationStep(mount.destination, options.propagation));
  return steps;
}

/** Why what is bound has to be opened beforehand; undefined: it can be opened when it is mounted. */
function openReason({ spec, emptyNamespace }: ContainerLaunch): Because | undefined {
  if (userNamespaceKind(spec.linux) !== "none")
    return {
      why: "the user namespace's root may neither walk to it nor map its ids",
      source: "man 7 user_namespaces",
    };
  if (emptyNamespace === undefined) return undefined;
  return { why: "the host's mounts are still in sight", source: "man 7 mount_namespaces" };
}

// Numbered behind the user namespaces, which are made first. What is mounted is cut off from the host's mount here: in the
// mount namespace of a user namespace the kernel would do the same, and in a copy of the host's the runtime.
function openBefore({ userNamespaces, opens, steps }: CompiledMounts, reason: Because): void {
  for (const step of steps) {
    if (step.op !== "mountTree" || !("hostPath" in step.source)) continue;
    const { source: from, recursive, set, clear, recursiveAttributes, idmap, target } = step;
    opens.push({
      op: "openMount",
      source: from,
      recursive,
      set,
      clear,
      recursiveAttributes,
      propagation: MS_SLAVE | MS_REC,
      ...(idmap === undefined ? {} : { idmap }),
      because: { ...reason, why: `for ${target}: ${reason.why}` },
    });
    step.source = { made: userNamespaces.length + opens.length - 1 };
    step.set = step.clear = 0;
    delete step.idmap;
  }
}

interface MountEntry {
  mount: Mount;
  options: MountOptions;
  /** "mounts[3]". */
  at: string;
}

function addBind(
  { steps }: CompiledMounts,
  launch: ContainerLaunch,
  entry: MountEntry,
  idmap: Tree["idmap"],
): void {
  const { mount, options, at } = entry;
  const [first] = options.data;
  if (first !== undefined)
    throw invalidArgument(`${at}.options has ${first[0]}: a bind mount takes no filesystem options`);
  const { attributes, recursive } = options;
  const wantsRecursive = hasAny(recursive);
  const own = wantsRecursive ? recursive : attributes;
  const step: MountTree & Step = {
    op: "mountTree",
    source: bindSource(mount, launch, at),
    recursive: options.bind !== "bind",
    set: own.set,
    clear: own.clear,
    recursiveAttributes: wantsRecursive,
    propagation: options.propagation === 0 ? unasked(launch.spec) : options.propagation,
    ...(idmap === undefined ? {} : { idmap }),
    target: mount.destination,
    create: "auto",
    ...(launch.copyUp?.has(mount.destination) === true ? { copyUp: ["content", "mode", "owner"] } : {}),
    because: { why: `bind mount of ${mount.source ?? "a detached mount"}`, source },
  };
  steps.push(step);
  if (wantsRecursive && hasAny(attributes)) steps.push(setAttributes(mount.destination, attributes));
}

/** The source is a slave of the host's mount already, unless some other mount is to be shared with the host. */
function unasked(spec: Spec): number {
  return wantsSharedMounts(spec) && userNamespaceKind(spec.linux) === "none" ? MS_SLAVE | MS_REC : 0;
}

function hasAny(attributes: Attributes): boolean {
  return attributes.set !== 0 || attributes.clear !== 0;
}

function bindSource(mount: Mount, launch: ContainerLaunch, at: string): MountSource {
  const fd = launch.detached?.get(mount.destination);
  if (fd !== undefined) return { fd };
  if (mount.source === undefined || mount.source === "") throw invalidArgument(`${at}.source is missing`);
  if (!mount.source.startsWith("/"))
    throw invalidArgument(`${at}.source is ${JSON.stringify(mount.source)}: not an absolute path`);
  return { hostPath: mount.source };
}

function setAttributes(target: string, attributes: Attributes, recursive = false): Step {
  return {
    op: "setMountAttributes",
    target,
    set: attributes.set,
    clear: attributes.clear,
    propagation: 0,
    recursive,
    because: { why: `attributes of the ${recursive ? "whole tree" : "top mount alone"}`, source },
  };
}

function addFilesystem(compiled: CompiledMounts, launch: ContainerLaunch, entry: MountEntry): void {
  const { mount, options, at } = entry;
  const type = mount.type ?? "";
  if (type === "" || type === "none") throw invalidArgument(`${at}.type is missing`);
  const set = options.attributes.set | options.recursive.set;
  const isClosedLater = type === "tmpfs" && (set & MOUNT_ATTR_RDONLY) !== 0;
  compiled.steps.push({
    op: "mountFs",
    type,
    options: fsOptions(type, mount, options, launch.spec),
    attributes: isClosedLater ? set & ~MOUNT_ATTR_RDONLY : set,
    target: mount.destination,
    create: "directory",
    ...(options.tmpcopyup ? { copyUp: copyUpOf(options) } : {}),
    because: filesystemReason(type),
  });
  compiled.steps.push(...compileLabel(type, mount.destination, launch.spec));
  if (options.propagation !== 0) compiled.steps.push(propagationStep(mount.destination, options.propagation));
  if (isClosedLater) compiled.closing.push(closeForWriting(mount.destination));
}

/** Mode and owner as options say, else those of the directory that is covered. */
function copyUpOf({ data }: MountOptions): CopyUp[] {
  const has = (...names: string[]): boolean => data.some(([name]) => names.includes(name));
  return [
    "content",
    ...(has("mode") ? [] : ["mode" as const]),
    ...(has("uid", "gid") ? [] : ["owner" as const]),
  ];
}

function fsOptions(type: string, mount: Mount, options: MountOptions, spec: Spec): [string, FsOptionValue][] {
  const list: [string, FsOptionValue][] = [];
  if (mount.source !== undefined && mount.source !== "") list.push(["source", mount.source]);
  list.push(...options.data);
  const { mountLabel = "" } = spec.linux ?? {};
  if (mountLabel !== "" && !labelledOtherwise.has(type)) list.push(["context", mountLabel]);
  return list;
}

/**
 * proc, sysfs and cgroup2 have labels of their own from the policy. There is one mqueue for each IPC namespace, which
 * exists before it is mounted and takes no option any more.
 */
const labelledOtherwise: ReadonlySet<string> = new Set(["proc", "sysfs", "cgroup2", "mqueue"]);

function compileLabel(type: string, target: string, spec: Spec): Step[] {
  const { mountLabel = "" } = spec.linux ?? {};
  if (mountLabel === "" || type !== "mqueue") return [];
  return [
    {
      op: "setLabel",
      target,
      label: mountLabel,
      // A policy may label the type as a whole.
      optional: true,
      because: { why: "message queues are the container's own", source },
    },
  ];
}

function filesystemReason(type: string): Because {
  if (type === "proc") return { why: "processes of the container's pid namespace, and only those", source };
  if (type === "sysfs") return { why: "devices as the container's network namespace sees them", source };
  if (type === "mqueue") return { why: "message queues of the pod's IPC namespace", source };
  if (type === "devpts") return { why: "terminals of the container's own", source };
  return { why: `a new ${type}`, source };
}

function propagationStep(target: string, propagation: number): Step {
  return {
    op: "setMountAttributes",
    target,
    set: 0,
    clear: 0,
    propagation,
    recursive: false,
    because: { why: "propagation as the mount's options say", source },
  };
}

function closeForWriting(target: string): Step {
  return {
    op: "setMountAttributes",
    target,
    set: MOUNT_ATTR_RDONLY,
    clear: 0,
    propagation: 0,
    recursive: false,
    because: { why: "read-only from here on: all that belongs into it was made", source },
  };
}

const cgroupSource = "OCI runtime-spec config-linux.md#control-groups";

function addCgroup(
  compiled: CompiledMounts,
  launch: ContainerLaunch,
  { mount, options, at }: MountEntry,
): void {
  const { spec, cgroupView: view } = launch;
  const attributes = options.attributes.set | options.recursive.set;
  const { destination: target } = mount;
  if (view.version === 1) addCgroupV1(compiled, { view, target, attributes, spec });
  else
    compiled.steps.push({
      op: "mountFs",
      type: "cgroup2",
      options: [["source", "cgroup"], ...options.data],
      attributes,
      target,
      create: "directory",
      because: { why: "the container's cgroups, as its cgroup namespace shows them", source: cgroupSource },
    });
  const [first] = options.data;
  if (view.version === 1 && first !== undefined)
    throw invalidArgument(`${at}.options has ${first[0]}: cgroup v1 is bound from the host as it is`);
  if (options.propagation !== 0) compiled.steps.push(propagationStep(target, options.propagation));
}

interface CgroupV1Mount {
  view: Extract<CgroupView, { version: 1 }>;
  target: string;
  attributes: number;
  spec: Spec;
}

// v1 has one hierarchy per controller: a small tmpfs with a bind mount of the container's own directory of each, so
// that nothing of other containers can be seen.
function addCgroupV1({ steps, closing }: CompiledMounts, mount: CgroupV1Mount): void {
  const { view, target, attributes, spec } = mount;
  steps.push({
    op: "mountFs",
    type: "tmpfs",
    options: [
      ["source", "cgroup"],
      ["mode", "0755"],
      ["size", "64k"],
    ],
    attributes: MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
    target,
    create: "directory",
    because: { why: "a place for one directory per cgroup v1 hierarchy", source: cgroupSource },
  });
  for (const { name, path, links } of view.hierarchies) {
    steps.push({
      op: "mountTree",
      source: { hostPath: path },
      recursive: false,
      set: attributes,
      clear: 0,
      recursiveAttributes: false,
      propagation: unasked(spec),
      target: `${target}/${name}`,
      create: "directory",
      because: { why: `the container's own ${name} cgroup, nothing above it`, source: cgroupSource },
    });
    for (const link of links)
      steps.push({
        op: "symlinkInRoot",
        linkTarget: name,
        path: `${target}/${link}`,
        because: { why: "a controller is found by its own name too", source: cgroupSource },
      });
  }
  if ((attributes & MOUNT_ATTR_RDONLY) !== 0) closing.push(closeForWriting(target));
}

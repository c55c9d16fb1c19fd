// One step of a launch program as one line for people.
import { capabilityNames } from "../linux/capabilities.ts";
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWTIME,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
  type CapabilityMasks,
  type CopyUp,
  type Descriptor,
  type FsOptionValue,
  type Made,
  type MountSource,
  type StepAction,
  type Tree,
} from "../linux/launch-program.ts";
import { MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE } from "../linux/mount.ts";
import { signalName } from "../linux/signals.ts";
import { rlimitName } from "./compile-limits.ts";

/** What a descriptor is, in words. */
export type DescriptorNames = (fd: Descriptor) => string;

type Formatters = {
  [Op in StepAction["op"]]: (step: Extract<StepAction, { op: Op }>, name: DescriptorNames) => string;
};

const namespaceNames: [flag: number, name: string][] = [
  [CLONE_NEWUSER, "user"],
  [CLONE_NEWNS, "mount"],
  [CLONE_NEWPID, "pid"],
  [CLONE_NEWNET, "network"],
  [CLONE_NEWIPC, "ipc"],
  [CLONE_NEWUTS, "uts"],
  [CLONE_NEWCGROUP, "cgroup"],
  [CLONE_NEWTIME, "time"],
];

// linux/mount.h
const attributeNames: [flag: number, name: string][] = [
  [0x1, "ro"],
  [0x2, "nosuid"],
  [0x4, "nodev"],
  [0x8, "noexec"],
  [0x10, "noatime"],
  [0x20, "strictatime"],
  [0x80, "nodiratime"],
  [0x200000, "nosymfollow"],
];

const propagationNames: [flag: number, name: string][] = [
  [MS_PRIVATE, "private"],
  [MS_SLAVE, "slave"],
  [MS_SHARED, "shared"],
  [1 << 17, "unbindable"],
];

function flagNames(table: readonly [flag: number, name: string][], flags: number): string[] {
  return table.filter(([flag]) => (flags & flag) !== 0).map(([, name]) => name);
}

const namespaces = (flags: number): string => flagNames(namespaceNames, flags).join(", ");

function propagation(flags: number): string {
  const prefix = (flags & MS_REC) === 0 ? "" : "r";
  return flagNames(propagationNames, flags)
    .map((name) => `${prefix}${name}`)
    .join(", ");
}

/** "ro, nosuid, dev, rprivate"; "" when nothing is set. */
function mountFlags(set: number, clear: number, propagates: number, isRecursive: boolean): string {
  const prefix = isRecursive ? "r" : "";
  // The access time mode is a field: clearing it only makes room for the new one.
  const cleared = flagNames(attributeNames, clear & ~set & ~0x70).map((name) =>
    name === "ro" ? "rw" : name.replace(/^no/, ""),
  );
  const all = [...flagNames(attributeNames, set), ...cleared].map((name) => `${prefix}${name}`);
  if (propagates !== 0) all.push(propagation(propagates));
  return all.join(", ");
}

function mountSource(source: MountSource, name: DescriptorNames): string {
  if ("fd" in source) return name(source.fd);
  if ("made" in source) return made(source);
  return "hostPath" in source ? source.hostPath : `(in the rootfs) ${source.rootPath}`;
}

/** Counted from 1 as the steps themselves are. */
const made = ({ made: number }: Made): string => `descriptor ${number + 1} of this program`;

function treeText(step: Tree, name: DescriptorNames): { source: string; mapped: string } {
  const source = `${step.recursive ? "tree " : ""}${mountSource(step.source, name)}`;
  if (step.idmap === undefined) return { source, mapped: "" };
  const { userNamespace, recursive } = step.idmap;
  const by = "fd" in userNamespace ? name(userNamespace.fd) : made(userNamespace);
  return { source, mapped: ` mapped ${recursive ? "recursively " : ""}by ${by}` };
}

const copied = (parts: readonly CopyUp[] = []): string =>
  parts.length === 0 ? "" : ` with the ${parts.join(", ")} of what is below`;

function treeFlags({ set, clear, propagation: propagates, recursiveAttributes }: Tree): string {
  return inBrackets(mountFlags(set, clear, propagates, recursiveAttributes));
}

function fsOption([key, value]: [string, FsOptionValue], name: DescriptorNames): string {
  if (value === true) return key;
  return `${key}=${typeof value === "string" ? value : name(value.fd)}`;
}

const inBrackets = (text: string): string => (text === "" ? "" : ` (${text})`);
const octal = (mode: number): string => `0${mode.toString(8)}`;

function capabilitySets(masks: CapabilityMasks): string {
  const show = (mask: bigint): string =>
    mask === 0n
      ? "none"
      : capabilityNames(mask)
          .map((name) => name.slice(4).toLowerCase())
          .join(",");
  const { bounding, effective, permitted, inheritable, ambient } = masks;
  const same = effective === permitted && permitted === bounding;
  const main = same
    ? [`bounding, permitted, effective: ${show(bounding)}`]
    : [`bounding: ${show(bounding)}`, `permitted: ${show(permitted)}`, `effective: ${show(effective)}`];
  return [...main, `inheritable: ${show(inheritable)}`, `ambient: ${show(ambient)}`].join("; ");
}

function command(argv: readonly string[], env: readonly Uint8Array[]): string {
  // Values may be secrets: only the names are shown.
  const names = env.map((line) => Buffer.from(line).toString("utf8").split("=", 1)[0] ?? "");
  return `${argv.map((arg) => JSON.stringify(arg)).join(" ")}, environment: ${names.join(" ") || "empty"}`;
}

const S_IFMT = 0o170000;
const nodeKinds = new Map([
  [0o060000, "block"],
  [0o020000, "character"],
  [0o010000, "fifo"],
]);

const formatters: Formatters = {
  fork: ({ flags, cgroup, idMaps }, name) =>
    [
      flags === 0 ? "no new namespaces" : `new ${namespaces(flags)}`,
      ...(cgroup === undefined ? [] : [`into ${name(cgroup)}`]),
      ...(idMaps === undefined ? [] : [`uids ${idMaps.uidMap.trim()}`, `gids ${idMaps.gidMap.trim()}`]),
    ].join("; "),
  joinNamespaces: ({ fd, mask }, name) => `${namespaces(mask)} of ${name(fd)}`,
  unshare: ({ flags }) => namespaces(flags),
  newSession: () => "",
  newKeyring: ({ name }) => name,
  parentDeathSignal: ({ signal }) => signalName(signal),
  joinCgroup: ({ files }, name) => files.map(name).join(", "),
  rlimit: ({ resource, soft, hard }) => `${rlimitName(resource)} ${soft}:${hard}`,
  writeProc: ({ path, value }) => `${path} = ${value.trim()}`,
  sethostname: ({ name }) => name,
  setdomainname: ({ name }) => name,
  sendSocket: ({ domain, type, protocol }) => `domain ${domain}, type ${type}, protocol ${protocol}`,
  setPropagation: ({ path, flags }) => `${path} ${propagation(flags)}`,
  attachRootfs: ({ mount, target }, name) => `${name(mount)} on ${target}`,
  mountFs: ({ type, options, attributes, target, copyUp }, name) => {
    const flags = mountFlags(attributes, 0, 0, false);
    const all = [...options.map((option) => fsOption(option, name)), ...(flags === "" ? [] : [flags])];
    return `${type} on ${target}${inBrackets(all.join(", "))}${copied(copyUp)}`;
  },
  mountTree: (step, name) => {
    const { source, mapped } = treeText(step, name);
    return `${source} on ${step.target}${mapped}${treeFlags(step)}${copied(step.copyUp)}`;
  },
  openMount: (step, name) => {
    const { source, mapped } = treeText(step, name);
    return `${source}${mapped}${treeFlags(step)}`;
  },
  makeUserNamespace: ({ uidMap, gidMap }) => `uids ${uidMap.trim()}; gids ${gidMap.trim()}`,
  hostDirectory: ({ path }) => path,
  ownStdio: ({ uid }) => `user ${uid} of the host`,
  setMountAttributes: ({ target, set, clear, propagation: propagates, recursive }) =>
    `${target === "" ? "the rootfs" : target}${inBrackets(mountFlags(set, clear, propagates, recursive))}`,
  setLabel: ({ target, label }) => `${target} ${label}`,
  mkdirInRoot: ({ path, mode, uid, gid }) => `${path} ${octal(mode)} ${uid}:${gid}`,
  mknodInRoot: ({ path, mode, uid, gid }) =>
    `${path} ${nodeKinds.get(mode & S_IFMT)} ${octal(mode & 0o7777)} ${uid}:${gid}`,
  symlinkInRoot: ({ path, linkTarget }) => `${path} -> ${linkTarget}`,
  maskPath: ({ path }) => path,
  readonlyPath: ({ path }) => path,
  openPty: ({ rows, columns, bindConsole }) =>
    `${columns}x${rows}${bindConsole ? ", also as /dev/console" : ""}`,
  pivotRoot: () => "",
  moveRoot: () => "",
  loopbackUp: () => "",
  changeRoot: ({ root }, name) => (root === undefined ? "" : name(root)),
  umask: ({ mask }) => octal(mask),
  personality: ({ domain }) => `0x${domain.toString(16)}`,
  scheduler: ({ policy, nice, priority }) => `policy ${policy}, nice ${nice}, priority ${priority}`,
  ioPriority: ({ value }) => `class ${value >> 13}, priority ${value & 7}`,
  cpuAffinity: ({ mask }) => `mask ${Buffer.from(mask).toString("hex")}`,
  memoryPolicy: ({ mode, nodes }) => `mode ${mode}, nodes ${Buffer.from(nodes).toString("hex")}`,
  apparmorExec: ({ profile }) => profile,
  selinuxExec: ({ label }) => label,
  setGroups: ({ groups }) => (groups.length === 0 ? "none" : groups.join(", ")),
  setIds: ({ uid, gid }) => `${uid}:${gid}`,
  capabilities: ({ masks }) => capabilitySets(masks),
  noNewPrivs: () => "",
  seccomp: ({ filter, listener }) =>
    `${filter.length / 8} instructions${listener === true ? ", notifies a listener" : ""}`,
  chdir: ({ path, create, attempt }) =>
    `${path}${create ? " (made if missing)" : ""}${attempt === "second" ? " (if root was refused)" : ""}`,
  sync: () => "",
  runHook: ({ path, timeoutSeconds }) =>
    `${path}${timeoutSeconds === 0 ? "" : `, at most ${timeoutSeconds} s`}`,
  findProgram: ({ name }) => name,
  waitGate: () => "",
  exec: ({ argv, env }) => command(argv, env),
  execFd: ({ fd, argv, env }, name) => `${name(fd)}: ${command(argv, env)}`,
};

/** `mountFs proc on /proc (nosuid, nodev, noexec)`. */
export function formatStep(step: StepAction, name: DescriptorNames): string {
  const format = formatters[step.op] as (step: StepAction, name: DescriptorNames) => string;
  return `${step.op} ${format(step, name)}`.trimEnd();
}

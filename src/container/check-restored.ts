// Before a restored container runs: criu gives processes the privileges, namespaces and mounts that the images say, and
// anybody may have made those. What counts is what the container's spec allows, so all of it is looked at, as the kernel
// has it, while every process still stands.
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { CricketError } from "../base/errors.ts";
import { capabilityMask, capabilityNames } from "../linux/capabilities.ts";
import { readMountinfo, type MountEntry } from "../linux/mountinfo.ts";
import { descendantsOf } from "../linux/proc.ts";
import type { NamespaceType } from "../oci/linux-spec.ts";
import { mountIdOf } from "../oci/runtime/criu-externals.ts";
import type { Mount, Process, Spec } from "../oci/spec.ts";

export interface RestoredProcesses {
  /** The first, as the host sees it. */
  init: number;
  /** All in the container's cgroup. */
  members: readonly number[];
  spec: Spec;
}

/** @throws CricketError permission-denied with what is too much */
export function assertRestored({ init, members, spec }: RestoredProcesses): void {
  const known = new Set(members);
  for (const pid of [init, ...descendantsOf(init)])
    if (!known.has(pid)) throw denied(`process ${pid} is not in the container's cgroup`);
  const seen = new Set<string>();
  for (const pid of members) {
    checkNamespaces(pid, init, spec);
    for (const thread of readdirSync(`/proc/${pid}/task`)) checkThread(pid, thread, spec);
    const mounts = namespaceOf(pid, "mount");
    if (!seen.has(mounts)) checkMountsOf(pid, spec);
    seen.add(mounts);
    raiseOomScore(pid, spec.process?.oomScoreAdj);
  }
}

const namespaceFiles: Readonly<Record<NamespaceType, string>> = {
  network: "net",
  pid: "pid",
  ipc: "ipc",
  uts: "uts",
  mount: "mnt",
  user: "user",
  cgroup: "cgroup",
  time: "time",
};

const namespaceOf = (pid: number | "self", type: NamespaceType): string =>
  readlinkSync(`/proc/${pid}/ns/${namespaceFiles[type]}`);

function checkNamespaces(pid: number, init: number, { linux }: Spec): void {
  const asked = linux?.namespaces ?? [];
  // In one of its own it would have all privileges over what belongs to that.
  if (!asked.some(({ type }) => type === "user") && namespaceOf(pid, "user") !== namespaceOf("self", "user"))
    throw denied(`process ${pid} is in a user namespace`);
  for (const { type, path } of asked) {
    const actual = namespaceOf(pid, type);
    if (path === undefined && actual === namespaceOf("self", type))
      throw denied(`process ${pid} is in the host's ${type} namespace`);
    // A container may make more namespaces inside of it.
    if (path !== undefined && pid === init && actual !== readlinkSync(path))
      throw denied(`process ${pid} is not in the ${type} namespace of its pod`);
  }
}

function checkThread(pid: number, thread: string, { process, linux }: Spec): void {
  const directory = `/proc/${pid}/task/${thread}`;
  const status = parseStatus(readFileSync(`${directory}/status`, "latin1"));
  const found = checkStatus(status, process, linux?.seccomp !== undefined);
  if (found !== undefined) throw denied(`process ${pid}: ${found}`);
  const { apparmorProfile, selinuxLabel } = process ?? {};
  const label = apparmorProfile ?? selinuxLabel;
  if (label === undefined || label === "") return;
  const current = readFileSync(`${directory}/attr/current`, "latin1").replace(/[\0\n]+$/, "");
  if (current !== label && current !== `${label} (enforce)`)
    throw denied(`process ${pid} is confined as ${JSON.stringify(current)}, not as ${label}`);
}

export function parseStatus(text: string): Map<string, string> {
  return new Map(
    text.split("\n").map((line) => [line.split(":", 1)[0] ?? "", line.replace(/^[^:]*:\s*/, "")]),
  );
}

/** What of /proc/<pid>/status is more than `process` allows; undefined: nothing. */
export function checkStatus(
  status: ReadonlyMap<string, string>,
  process: Process | undefined,
  filtered: boolean,
): string | undefined {
  const more = moreCapabilities(status, process?.capabilities?.bounding ?? []);
  if (more !== undefined) return more;
  if (filtered && status.get("Seccomp") !== "2") return "it has no seccomp filter";
  if (process === undefined) return undefined;
  if (process.noNewPrivileges === true && status.get("NoNewPrivs") !== "1")
    return "it may gain privileges by execve";
  return process.user.uid === 0 ? undefined : checkUser(status, process.user);
}

function moreCapabilities(
  status: ReadonlyMap<string, string>,
  bounding: readonly string[],
): string | undefined {
  const allowed = capabilityMask(bounding, "bounding");
  for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
    const more = BigInt(`0x${status.get(set) ?? "0"}`) & ~allowed;
    if (more !== 0n) return `${set} has ${capabilityNames(more).join(", ")}`;
  }
  return undefined;
}

function checkUser(
  status: ReadonlyMap<string, string>,
  { uid, gid, additionalGids = [] }: Process["user"],
): string | undefined {
  const idsOf = (name: string): number[] => (status.get(name) ?? "").split(/\s+/).filter(Boolean).map(Number);
  const uids = idsOf("Uid").filter((id) => id !== uid);
  if (uids.length > 0) return `it runs as user ${uids[0]}, not ${uid}`;
  const groups = new Set([gid, ...additionalGids]);
  const gids = [...idsOf("Gid"), ...idsOf("Groups")].filter((id) => !groups.has(id));
  return gids.length > 0 ? `it is in group ${gids[0]}` : undefined;
}

const ownFilesystems: ReadonlySet<string> = new Set([
  "overlay",
  "proc",
  "sysfs",
  "tmpfs",
  "devpts",
  "devtmpfs",
  "mqueue",
  "cgroup",
  "cgroup2",
]);

function checkMountsOf(pid: number, spec: Spec): void {
  const mounts = readMountinfo(pid);
  const placeOf = (path: string): string | undefined => {
    const id = mountIdOf(pid, path);
    return mounts.find(({ mountId }) => mountId === id)?.mountPoint;
  };
  checkMounts(mounts, spec, placeOf);
}

/**
 * `placeOf`: the mount point that a path of the container lies on, over symlinks, as /var/run may be /run; undefined
 * where there is no such path.
 * @throws CricketError permission-denied
 */
export function checkMounts(
  mounts: readonly MountEntry[],
  spec: Spec,
  placeOf: (path: string) => string | undefined,
): void {
  // What is not mounted lies on the root: then nothing of it is there.
  const asked = (spec.mounts ?? [])
    .map((mount) => ({ ...mount, destination: placeOf(mount.destination) ?? mount.destination }))
    .filter(({ destination }) => destination !== "/");
  const top = new Map(mounts.map((mount) => [mount.mountPoint, mount]));
  checkForeign(mounts, asked, top.get("/")?.device);
  const { readonlyPaths = [], maskedPaths = [] } = spec.linux ?? {};
  const exists = (path: string): boolean => placeOf(path) !== undefined;
  checkReadonly([...(spec.root?.readonly === true ? ["/"] : []), ...readonlyPaths.filter(exists)], top);
  const readonly = asked.filter(({ options = [] }) => options.includes("ro"));
  checkReadonly(
    readonly.map(({ destination }) => destination).filter((path) => top.has(path)),
    top,
  );
  checkMasked(maskedPaths.filter(exists), top);
}

function checkMasked(paths: readonly string[], top: ReadonlyMap<string, MountEntry>): void {
  for (const path of paths) {
    const mount = top.get(path);
    const isMasked = mount?.root.endsWith("/null") === true || mount?.filesystemType === "tmpfs";
    if (!isMasked) throw denied(`${path} is not masked`);
  }
}

/** Each mount is asked for, is the root's, or has nothing of the host in it. */
function checkForeign(
  mounts: readonly MountEntry[],
  asked: readonly Mount[],
  rootDevice: string | undefined,
): void {
  for (const { mountPoint, filesystemType, device } of mounts) {
    if (asked.some((mount) => isAt(mountPoint, mount)) || device === rootDevice) continue;
    if (filesystemType === "overlay" || !ownFilesystems.has(filesystemType))
      throw denied(`${filesystemType} is mounted on ${mountPoint}, which nobody asked for`);
  }
}

function checkReadonly(paths: readonly string[], top: ReadonlyMap<string, MountEntry>): void {
  for (const path of paths) {
    const mount = top.get(path);
    if (mount === undefined || !isReadonly(mount)) throw denied(`${path} is not read-only`);
  }
}

const isAt = (path: string, { destination }: Mount): boolean =>
  path === destination || path.startsWith(`${destination}/`);

const isReadonly = ({ options, superOptions }: MountEntry): boolean =>
  options.includes("ro") || superOptions.includes("ro");

/** A lower one would let the kernel take others first. */
function raiseOomScore(pid: number, score: number | undefined): void {
  if (score === undefined) return;
  const file = `/proc/${pid}/oom_score_adj`;
  if (Number(readFileSync(file, "latin1")) < score) writeFileSync(file, String(score));
}

const denied = (what: string): CricketError =>
  new CricketError("permission-denied", `the checkpoint is of more than the container may have: ${what}`);

// The files every container of a pod sees: /etc/hostname, /etc/hosts, /etc/resolv.conf and /dev/shm.
import { chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { hostname as hostName } from "node:os";
import { join } from "node:path";
import { errnoOf } from "../base/errors.ts";
import { shortId } from "../base/ids.ts";
import {
  attachMount,
  createMount,
  type FsOption,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MNT_DETACH,
  umount,
} from "../linux/mount.ts";
import { close } from "../linux/files.ts";
import { setPathLabel } from "../linux/selinux.ts";
import type { DnsConfig, SandboxConfig } from "./sandbox-config.ts";

/** Host paths of the pod's files; `shm` is "/dev/shm" of the host for pods in the host's IPC namespace. */
export interface SandboxFiles {
  hostname: string;
  hosts: string;
  resolvConf: string;
  shm: string;
}

export function sandboxFiles(directory: string, config: SandboxConfig): SandboxFiles {
  const hostIpc = config.security.namespaces.ipc === "node";
  return {
    hostname: join(directory, "hostname"),
    hosts: join(directory, "hosts"),
    resolvConf: join(directory, "resolv.conf"),
    shm: hostIpc ? "/dev/shm" : join(directory, "shm"),
  };
}

/** The pod's hostname: as asked, else the short id; a pod in the host's network namespace has the host's. */
export function sandboxHostname(id: string, config: SandboxConfig): string {
  if (config.security.namespaces.network === "node") return hostName();
  return config.hostname === "" ? shortId(id) : config.hostname;
}

export function writeSandboxFiles(
  files: SandboxFiles,
  hostname: string,
  config: SandboxConfig,
  ips: string[],
): void {
  writeFileSync(files.hostname, `${hostname}\n`, { mode: 0o644 });
  writeFileSync(files.hosts, formatHosts(hostname, config, ips), { mode: 0o644 });
  writeFileSync(files.resolvConf, formatResolvConf(config.dns), { mode: 0o644 });
}

/** The mount option that gives all of a filesystem one SELinux label. */
export function labelOption(label: string | undefined): FsOption[] {
  return label === undefined ? [] : [["context", label]];
}

/** Containers with the pod's SELinux label may read and write them. */
export function labelSandboxFiles({ hostname, hosts, resolvConf }: SandboxFiles, label: string): void {
  for (const path of [hostname, hosts, resolvConf]) setPathLabel(path, label);
}

// The kubelet mounts its own /etc/hosts over this one; pods made by other clients have only this.
function formatHosts(hostname: string, config: SandboxConfig, ips: string[]): string {
  if (config.security.namespaces.network === "node") return readOptional("/etc/hosts");
  const lines = [
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::0\tip6-localnet",
    "ff00::0\tip6-mcastprefix",
    "ff02::1\tip6-allnodes",
    "ff02::2\tip6-allrouters",
    ...ips.map((ip) => `${ip}\t${hostname}`),
  ];
  return `${lines.join("\n")}\n`;
}

/** resolv.conf(5): `search`, `nameserver`, `options`, in the order the field's runtimes write; the host's file without values. */
function formatResolvConf(dns: DnsConfig | undefined): string {
  if (dns === undefined || dns.servers.length + dns.searches.length + dns.options.length === 0)
    return readOptional("/etc/resolv.conf");
  const lines: string[] = [];
  if (dns.searches.length > 0) lines.push(`search ${dns.searches.join(" ")}`);
  for (const server of dns.servers) lines.push(`nameserver ${server}`);
  if (dns.options.length > 0) lines.push(`options ${dns.options.join(" ")}`);
  return `${lines.join("\n")}\n`;
}

function readOptional(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return "";
    throw error;
  }
}

/** To the root of the pod's user namespace, who may write to them as root may in other pods. */
export function giveSandboxFiles(files: SandboxFiles, { uid, gid }: { uid: number; gid: number }): void {
  for (const path of [files.hostname, files.hosts, files.resolvConf]) chownSync(path, uid, gid);
}

export interface ShmOptions {
  sizeBytes: number;
  /** Who has it. */
  owner: { uid: number; gid: number };
  /** SELinux label of all that is in it. */
  label: string | undefined;
}

/** Mounts the tmpfs that all containers of the pod see as /dev/shm. */
export function mountShm(path: string, { sizeBytes, owner, label }: ShmOptions): void {
  mkdirSync(path, { mode: 0o700 });
  const attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  const fd = createMount(
    "tmpfs",
    [
      ["source", "shm"],
      ["mode", "1777"],
      ["uid", String(owner.uid)],
      ["gid", String(owner.gid)],
      ["size", String(sizeBytes)],
      ...labelOption(label),
    ],
    attributes,
  );
  try {
    attachMount(fd, path);
  } finally {
    close(fd);
  }
}

/** Idempotent; lazy, so that a busy mount never keeps a pod from going (containerd#4020). */
export function unmountShm(path: string): void {
  try {
    umount(path, MNT_DETACH);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT" && errnoOf(error) !== "EINVAL") throw error;
  }
}

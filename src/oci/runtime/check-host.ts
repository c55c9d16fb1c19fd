// What a spec asks for and this kernel cannot do: said before anything is made, with the name of the property and of
// the feature that is missing. The kernel's own answer would be an EINVAL in the middle of a launch.
import { existsSync, readFileSync } from "node:fs";
import { failedPrecondition } from "../../base/errors.ts";
import { seccompActions, seccompFlags, takesSeccompFlags } from "../../linux/seccomp-support.ts";
import type { NamespaceType, Seccomp, SeccompAction } from "../linux-spec.ts";
import type { Process, Spec } from "../spec.ts";

/** @throws CricketError failed-precondition */
export function assertHostCan({ process, linux = {} }: Spec): void {
  if (process !== undefined) assertHostConfines(process);
  if ((linux.mountLabel ?? "") !== "" && !hasSelinux()) throw lacks("linux.mountLabel", "SELinux");
  for (const [index, { type }] of (linux.namespaces ?? []).entries())
    if (!existsSync(`/proc/self/ns/${namespaceFiles[type]}`))
      throw lacks(`linux.namespaces[${index}].type`, `${type} namespaces`);
  if (linux.memoryPolicy !== undefined && !existsSync("/proc/self/numa_maps"))
    throw lacks("linux.memoryPolicy", "NUMA memory policies (CONFIG_NUMA)");
  if (linux.seccomp !== undefined) assertSeccomp(linux.seccomp);
}

/** The part that concerns any process in a container. @throws CricketError failed-precondition */
export function assertHostConfines({ apparmorProfile = "", selinuxLabel = "" }: Process): void {
  if (apparmorProfile !== "" && !hasAppArmor()) throw lacks("process.apparmorProfile", "AppArmor");
  if (selinuxLabel !== "" && !hasSelinux()) throw lacks("process.selinuxLabel", "SELinux");
}

const namespaceFiles: Record<NamespaceType, string> = {
  pid: "pid",
  network: "net",
  mount: "mnt",
  ipc: "ipc",
  uts: "uts",
  user: "user",
  cgroup: "cgroup",
  time: "time",
};

function lacks(property: string, feature: string): Error {
  return failedPrecondition(`${property} is set, but this kernel has no ${feature}`);
}

function hasAppArmor(): boolean {
  try {
    return readFileSync("/sys/module/apparmor/parameters/enabled", "utf8").startsWith("Y");
  } catch {
    return false;
  }
}

// The file system is registered only where SELinux was not switched off at boot.
function hasSelinux(): boolean {
  return /\bselinuxfs$/m.test(readFileSync("/proc/filesystems", "utf8"));
}

const actionNames: Record<SeccompAction, string> = {
  SCMP_ACT_KILL: "kill_thread",
  SCMP_ACT_KILL_THREAD: "kill_thread",
  SCMP_ACT_KILL_PROCESS: "kill_process",
  SCMP_ACT_TRAP: "trap",
  SCMP_ACT_ERRNO: "errno",
  SCMP_ACT_TRACE: "trace",
  SCMP_ACT_ALLOW: "allow",
  SCMP_ACT_LOG: "log",
  SCMP_ACT_NOTIFY: "user_notif",
};

function assertSeccomp({ defaultAction, syscalls = [], flags = [] }: Seccomp): void {
  const available = seccompActions();
  if (available === undefined) throw lacks("linux.seccomp", "seccomp filters (CONFIG_SECCOMP_FILTER)");
  const used: [property: string, action: SeccompAction][] = [
    ["linux.seccomp.defaultAction", defaultAction],
    ...syscalls.map(({ action }, index): [string, SeccompAction] => [
      `linux.seccomp.syscalls[${index}].action`,
      action,
    ]),
  ];
  for (const [property, action] of used)
    if (!available.includes(actionNames[action])) throw lacks(property, `seccomp action ${action}`);
  for (const [index, flag] of flags.entries())
    if (!takesSeccompFlags(seccompFlags.get(flag) ?? 0))
      throw lacks(`linux.seccomp.flags[${index}]`, `seccomp flag ${flag}`);
}

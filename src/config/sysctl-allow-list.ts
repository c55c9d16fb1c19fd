// Which sysctls a pod may set: only those of its own namespaces. The name decides, never a string put together from
// several (CVE-2022-0811), and a namespace shared with the host makes its sysctls the host's (CVE-2022-0532).
import { invalidArgument } from "../base/errors.ts";

export interface SysctlRules {
  /** Names or `prefix*` patterns, with dots. */
  allowed: readonly string[];
  hostNetwork: boolean;
  hostIpc: boolean;
}

export interface SysctlWrite {
  /** Under /proc/sys: "net/ipv4/ip_unprivileged_port_start". */
  path: string;
  value: string;
}

const component = /^[A-Za-z0-9_](?:[A-Za-z0-9_.:@-]*)$/;
const maximumValueLength = 4096;

/**
 * Checks a pod's sysctls and turns them into writes below /proc/sys, in the order given. Throws invalid-argument
 * naming the sysctl: not allowed, of a namespace that the pod shares with the host, or malformed.
 */
export function checkSysctls(sysctls: Readonly<Record<string, string>>, rules: SysctlRules): SysctlWrite[] {
  return Object.entries(sysctls).map(([name, value]) => checkSysctl(name, value, rules));
}

function checkSysctl(name: string, value: string, rules: SysctlRules): SysctlWrite {
  const components = splitName(name);
  const plain = components.join(".");
  if (!rules.allowed.some((pattern) => matches(pattern, plain)))
    throw invalidArgument(`sysctls[${JSON.stringify(name)}] is not allowed`);
  const namespace = namespaceOf(plain);
  if (namespace === undefined)
    throw invalidArgument(`sysctls[${JSON.stringify(name)}] belongs to no namespace of a pod`);
  if (namespace === "network" ? rules.hostNetwork : rules.hostIpc)
    throw invalidArgument(
      `sysctls[${JSON.stringify(name)}] cannot be set: the pod shares the host's ${namespace} namespace`,
    );
  if (value.length > maximumValueLength || /[\0\n]/.test(value))
    throw invalidArgument(
      `sysctls[${JSON.stringify(name)}] has a value that is too long or more than one line`,
    );
  return { path: components.join("/"), value };
}

// sysctl(8): the separator that comes first separates; the other one then stands for itself turned round, so that
// net.ipv4.conf.eth0/100.forwarding and net/ipv4/conf/eth0.100/forwarding are the same.
function splitName(name: string): string[] {
  const slashesSeparate = /^[^./]*\//.test(name);
  const components = slashesSeparate
    ? name.split("/")
    : name.split(".").map((part) => part.replaceAll("/", "."));
  if (components.length < 2 || !components.every((part) => component.test(part) && !part.includes("..")))
    throw invalidArgument(`sysctls[${JSON.stringify(name)}] is not a sysctl name`);
  return components;
}

function matches(pattern: string, name: string): boolean {
  const dotted = pattern.replaceAll("/", ".");
  return dotted.endsWith("*") ? name.startsWith(dotted.slice(0, -1)) : name === dotted;
}

function namespaceOf(name: string): "network" | "ipc" | undefined {
  if (name.startsWith("net.")) return "network";
  if (name === "kernel.sem" || /^kernel\.(?:shm|msg)/.test(name) || name.startsWith("fs.mqueue."))
    return "ipc";
  return undefined;
}

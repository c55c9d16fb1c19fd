// Sysctls of a pod: only namespaced ones, and only in namespaces the pod has to itself.
import { invalidArgument } from "../base/errors.ts";
import type { NamespaceOptions } from "./sandbox-config.ts";

/**
 * Checks the sysctls a pod asks for and returns all that will be written, as separate key and value (never joined to
 * one string: CVE-2022-0811). A sysctl of a namespace that the pod shares with the host is refused, because it
 * would change the host (CVE-2022-0532). `allowed` has names and prefixes ending in `*`.
 * @throws CricketError invalid-argument naming the sysctl
 */
export function resolveSysctls(
  asked: Readonly<Record<string, string>>,
  namespaces: NamespaceOptions,
  allowed: readonly string[],
): [name: string, value: string][] {
  const result = new Map<string, string>();
  if (namespaces.network === "pod") {
    // What the field's runtimes have set since ports and ping no longer need a capability in pods.
    result.set("net.ipv4.ip_unprivileged_port_start", "0");
    result.set("net.ipv4.ping_group_range", "0 2147483647");
  }
  for (const [given, value] of Object.entries(asked)) {
    const name = normalise(given);
    assertAllowed(name, namespaces, allowed);
    if (/[\0\n]/.test(value)) throw invalidArgument(`sysctl ${name} has a value with a newline or NUL`);
    result.set(name, value);
  }
  return [...result];
}

// sysctl(8) accepts "net/ipv4/..." too; there a dot belongs to the name (an interface such as eth0.100).
function normalise(name: string): string {
  const slash = name.indexOf("/");
  const dot = name.indexOf(".");
  if (slash === -1 || (dot !== -1 && dot < slash)) return name;
  return name.replace(/[./]/g, (separator) => (separator === "/" ? "." : "/"));
}

function assertAllowed(name: string, namespaces: NamespaceOptions, allowed: readonly string[]): void {
  if (!/^[a-z0-9_-]+(\.[a-zA-Z0-9_/-]+)+$/.test(name) || name.includes(".."))
    throw invalidArgument(`sysctl ${JSON.stringify(name)} is not a valid name`);
  if (!allowed.some((pattern) => matches(pattern, name)))
    throw invalidArgument(`sysctl ${name} is not in the list of allowed sysctls`);
  if (name.startsWith("net.") && namespaces.network === "node")
    throw invalidArgument(`sysctl ${name} needs a network namespace of the pod, but the pod uses the host's`);
  if (!name.startsWith("net.") && namespaces.ipc === "node")
    throw invalidArgument(`sysctl ${name} needs an IPC namespace of the pod, but the pod uses the host's`);
}

function matches(pattern: string, name: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

/** "/proc/sys/net/ipv4/ip_forward"; a slash in the name stands for a dot in the file name. */
export function sysctlPath(name: string): string {
  return `/proc/sys/${name.replace(/[./]/g, (separator) => (separator === "." ? "/" : "."))}`;
}

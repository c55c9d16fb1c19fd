// Sysctls of a pod: only namespaced ones, and only in namespaces the pod has to itself.
import { invalidArgument } from "../base/errors.ts";
import type { NamespaceOptions } from "./sandbox-config.ts";
import { podIdMaps } from "./user-namespace.ts";

export interface Sysctl {
  /** "/proc/sys/net/ipv4/ip_forward" */
  path: string;
  value: string;
  /** A default nobody asked for: a kernel that lacks it (no IPv6) runs pods all the same. */
  optional: boolean;
}

/**
 * Checks the sysctls a pod asks for and returns all that will be written, as separate path and value (never joined to
 * one string: CVE-2022-0811). A sysctl of a namespace that the pod shares with the host is refused, because it
 * would change the host (CVE-2022-0532). `allowed` has names and prefixes ending in `*`.
 * @throws CricketError invalid-argument naming the sysctl
 */
export function resolveSysctls(
  asked: Readonly<Record<string, string>>,
  namespaces: NamespaceOptions,
  allowed: readonly string[],
): Sysctl[] {
  const values = new Map<string, string>();
  for (const [given, value] of Object.entries(asked)) {
    const parts = parseName(given);
    assertAllowed(parts.join("."), namespaces, allowed);
    if (/[\0\n]/.test(value)) throw invalidArgument(`sysctl ${given} has a value with a newline or NUL`);
    const path = parts.join("/");
    values.set(path, path === pingGroups ? mappedGroups(value, namespaces) : value);
  }
  const defaults =
    namespaces.network === "pod" ? podNetworkDefaults(namespaces).filter(([path]) => !values.has(path)) : [];
  return [
    ...defaults.map(([path, value]) => ({ path: `/proc/sys/${path}`, value, optional: true })),
    ...[...values].map(([path, value]) => ({ path: `/proc/sys/${path}`, value, optional: false })),
  ];
}

// What the field's runtimes have set since ports and ping no longer need a capability in pods.
const podNetworkDefaults = (namespaces: NamespaceOptions): readonly (readonly [string, string])[] => [
  ["net/ipv4/ip_unprivileged_port_start", "0"],
  [pingGroups, mappedGroups("0 2147483647", namespaces)],
  // A pod must not be able to give another one its routes (CVE-2020-10749).
  ["net/ipv6/conf/default/accept_ra", "0"],
];

const pingGroups = "net/ipv4/ping_group_range";

// In a user namespace the kernel takes only groups that it maps, and answers EINVAL to the whole range otherwise.
function mappedGroups(value: string, namespaces: NamespaceOptions): string {
  const [gids] = podIdMaps(namespaces)?.gids ?? [];
  const range = /^\s*(\d+)\s+(\d+)\s*$/.exec(value);
  if (gids === undefined || range === null) return value;
  const last = gids.containerID + gids.size - 1;
  return [range[1], range[2]].map((bound) => Math.min(Number(bound), last)).join(" ");
}

// sysctl(8) accepts "net/ipv4/..." too; there a dot belongs to the name (an interface such as eth0.100).
function parseName(given: string): string[] {
  const slash = given.indexOf("/");
  const dot = given.indexOf(".");
  const parts =
    slash === -1 || (dot !== -1 && dot < slash)
      ? given.split(".").map((part) => part.replaceAll("/", "."))
      : given.split("/");
  // Each part is one file name below /proc/sys: nothing in it may lead elsewhere (CVE-2022-0811).
  if (
    parts.length < 2 ||
    !parts.every((part) => /^[A-Za-z0-9_][\w.:@-]*$/.test(part) && !part.includes(".."))
  )
    throw invalidArgument(`sysctl ${JSON.stringify(given)} is not a valid name`);
  return parts;
}

function assertAllowed(name: string, namespaces: NamespaceOptions, allowed: readonly string[]): void {
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

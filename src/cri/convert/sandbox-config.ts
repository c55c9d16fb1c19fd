// PodSandboxConfig of the wire -> SandboxConfig, with every field checked.
import { isIP } from "node:net";
import { invalidArgument } from "../../base/errors.ts";
import type { PortMapping } from "../../network/pod-network.ts";
import type {
  DnsConfig,
  SandboxConfig,
  SandboxMetadata,
  SandboxSecurity,
} from "../../sandbox/sandbox-config.ts";
import { v1 } from "../../../cri-api/runtime/v1/api.js";
import {
  absolutePath,
  each,
  enumChoice,
  integerWithin,
  leadsUp,
  nonEmpty,
  optionalAbsolutePath,
  required,
  singleLine,
  text,
  word,
} from "./field.ts";
import { sandboxNamespaces } from "./namespaces.ts";
import { resourcesFromWire } from "./resources.ts";
import {
  apparmorProfile,
  groupsPolicy,
  runAs,
  seccompProfile,
  selinuxOptions,
  supplementalGroups,
} from "./security.ts";

/** @throws CricketError invalid-argument naming the field below `at` ("config") */
export function sandboxConfigFromWire(
  wire: v1.PodSandboxConfig | null | undefined,
  at: string,
): SandboxConfig {
  const config = required(wire, at);
  const { linux } = config;
  const result: SandboxConfig = {
    metadata: metadataFromWire(config.metadata, `${at}.metadata`),
    hostname: hostname(config.hostname, `${at}.hostname`),
    logDirectory: logDirectory(config.logDirectory, `${at}.log_directory`),
    portMappings: each(config.portMappings, `${at}.port_mappings`, portMapping),
    labels: { ...config.labels },
    annotations: { ...config.annotations },
    cgroupParent: cgroupParent(linux?.cgroupParent ?? "", `${at}.linux.cgroup_parent`),
    sysctls: sysctls(linux?.sysctls ?? {}, `${at}.linux.sysctls`),
    security: securityFromWire(linux?.securityContext, `${at}.linux.security_context`),
  };
  const dns = dnsFromWire(config.dnsConfig, `${at}.dns_config`);
  if (dns !== undefined) result.dns = dns;
  if (linux?.overhead) result.overhead = resourcesFromWire(linux.overhead, `${at}.linux.overhead`);
  if (linux?.resources) result.resources = resourcesFromWire(linux.resources, `${at}.linux.resources`);
  return result;
}

// The kubelet takes a status without name, namespace or uid for broken, so a sandbox without them is useless to it.
function metadataFromWire(wire: v1.PodSandboxMetadata | null | undefined, at: string): SandboxMetadata {
  const metadata = required(wire, at);
  return {
    name: singleLine(nonEmpty(metadata.name, `${at}.name`), `${at}.name`),
    uid: singleLine(nonEmpty(metadata.uid, `${at}.uid`), `${at}.uid`),
    namespace: singleLine(nonEmpty(metadata.namespace, `${at}.namespace`), `${at}.namespace`),
    attempt: metadata.attempt,
  };
}

// sethostname(2): at most 64 bytes. The name is also written to /etc/hosts and /etc/hostname.
function hostname(value: string, at: string): string {
  if (value === "") return "";
  if (Buffer.byteLength(value) > 64) throw invalidArgument(`${at} is longer than 64 bytes`);
  return word(value, at);
}

function logDirectory(value: string, at: string): string {
  const path = optionalAbsolutePath(value, at);
  if (leadsUp(path)) throw invalidArgument(`${at} is ${JSON.stringify(value)}: contains ".."`);
  return path;
}

// cgroupfs: a path below the hierarchy's root. systemd: the name of a slice.
function cgroupParent(value: string, at: string): string {
  if (value === "" || /^[^/]+\.slice$/.test(value)) return singleLine(value, at);
  absolutePath(value, at);
  if (leadsUp(value) || /\/\.?(\/|$)/.test(value))
    throw invalidArgument(`${at} is ${JSON.stringify(value)}: not a plain path below the cgroup root`);
  return singleLine(value, at);
}

// Which sysctls a pod may set is decided where they are set. Here only the form: one name, one value, each on its own
// (CVE-2022-0811 had a second sysctl in the value of the first).
function sysctls(wire: Readonly<Record<string, string>>, at: string): Record<string, string> {
  for (const [name, value] of Object.entries(wire)) {
    const where = `${at}[${JSON.stringify(name)}]`;
    if (!/^[\w@:-]+([./][\w@:-]+)+$/.test(name)) throw invalidArgument(`${where} is not a sysctl name`);
    if (/[\n+=]/.test(text(value, where)))
      throw invalidArgument(`${where} is ${JSON.stringify(value)}: not a sysctl value`);
  }
  return { ...wire };
}

const anyPort = { min: 0n, max: 65_535n };
const realPort = { min: 1n, max: 65_535n };

function portMapping(wire: v1.PortMapping, at: string): PortMapping {
  const protocols = { TCP: "tcp", UDP: "udp", SCTP: "sctp" } as const;
  if (wire.hostIp !== "" && isIP(wire.hostIp) === 0)
    throw invalidArgument(`${at}.host_ip is ${JSON.stringify(wire.hostIp)}: not an IP address`);
  return {
    protocol: enumChoice(wire.protocol, v1.Protocol, protocols, `${at}.protocol`),
    containerPort: integerWithin(wire.containerPort, realPort, `${at}.container_port`),
    hostPort: integerWithin(wire.hostPort, anyPort, `${at}.host_port`),
    hostIp: wire.hostIp,
  };
}

/** Undefined when nothing is set: the pod then gets the node's resolv.conf. */
function dnsFromWire(wire: v1.DNSConfig | null | undefined, at: string): DnsConfig | undefined {
  if (wire === null || wire === undefined) return undefined;
  if (wire.servers.length + wire.searches.length + wire.options.length === 0) return undefined;
  return {
    servers: each(wire.servers, `${at}.servers`, dnsServer),
    searches: each(wire.searches, `${at}.searches`, word),
    options: each(wire.options, `${at}.options`, word),
  };
}

function dnsServer(value: string, at: string): string {
  if (isIP(value) === 0) throw invalidArgument(`${at} is ${JSON.stringify(value)}: not an IP address`);
  return value;
}

function securityFromWire(
  wire: v1.LinuxSandboxSecurityContext | null | undefined,
  at: string,
): SandboxSecurity {
  if (wire === null || wire === undefined)
    return {
      namespaces: sandboxNamespaces(undefined, `${at}.namespace_options`),
      privileged: false,
      readonlyRootfs: false,
      supplementalGroups: [],
      supplementalGroupsPolicy: "merge",
    };
  const security: SandboxSecurity = {
    namespaces: sandboxNamespaces(wire.namespaceOptions, `${at}.namespace_options`),
    privileged: wire.privileged,
    readonlyRootfs: wire.readonlyRootfs,
    ...runAs(wire, "", at),
    supplementalGroups: supplementalGroups(wire.supplementalGroups, `${at}.supplemental_groups`),
    supplementalGroupsPolicy: groupsPolicy(wire.supplementalGroupsPolicy, `${at}.supplemental_groups_policy`),
  };
  addProfiles(security, wire, at);
  return security;
}

function addProfiles(security: SandboxSecurity, wire: v1.LinuxSandboxSecurityContext, at: string): void {
  const seccomp = seccompProfile({
    profile: wire.seccomp,
    deprecated: wire.seccompProfilePath,
    at: `${at}.seccomp`,
    deprecatedAt: `${at}.seccomp_profile_path`,
  });
  // A sandbox never had a text field for AppArmor.
  const apparmor = apparmorProfile({
    profile: wire.apparmor,
    deprecated: "",
    at: `${at}.apparmor`,
    deprecatedAt: "",
  });
  const selinux = selinuxOptions(wire.selinuxOptions, `${at}.selinux_options`);
  if (seccomp !== undefined) security.seccomp = seccomp;
  if (apparmor !== undefined) security.apparmor = apparmor;
  if (selinux !== undefined) security.selinux = selinux;
}

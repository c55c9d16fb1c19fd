// ContainerConfig of the wire -> ContainerConfig, with every field checked.
import { invalidArgument } from "../../base/errors.ts";
import type {
  ContainerConfig,
  ContainerDevice,
  ContainerSecurity,
} from "../../container/container-config.ts";
import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import {
  absolutePath,
  each,
  nonEmpty,
  optionalAbsolutePath,
  optionalInnerPath,
  required,
  singleLine,
  text,
} from "./field.ts";
import { mountFromWire } from "./mount.ts";
import { namespacesFromWire } from "./namespaces.ts";
import { resourcesFromWire } from "./resources.ts";
import {
  apparmorProfile,
  groupsPolicy,
  runAs,
  seccompProfile,
  selinuxOptions,
  supplementalGroups,
} from "./security.ts";
import { signalFromWire } from "./signal.ts";

/** @throws CricketError invalid-argument naming the field below `at` ("config") */
export function containerConfigFromWire(
  wire: v1.ContainerConfig | null | undefined,
  at: string,
): ContainerConfig {
  const config = required(wire, at);
  const { linux } = config;
  const result: ContainerConfig = {
    metadata: metadataFromWire(config.metadata, `${at}.metadata`),
    image: imageFromWire(config.image, `${at}.image`),
    command: each(config.command, `${at}.command`, text),
    args: each(config.args, `${at}.args`, text),
    workingDir: optionalAbsolutePath(config.workingDir, `${at}.working_dir`),
    envs: each(config.envs, `${at}.envs`, environmentVariable),
    mounts: each(config.mounts, `${at}.mounts`, mountFromWire),
    devices: each(config.devices, `${at}.devices`, deviceFromWire),
    cdiDevices: each(config.CDIDevices, `${at}.CDI_devices`, (device, where) =>
      singleLine(nonEmpty(device.name, `${where}.name`), `${where}.name`),
    ),
    labels: { ...config.labels },
    annotations: { ...config.annotations },
    logPath: logPath(config.logPath, `${at}.log_path`),
    stdin: config.stdin,
    stdinOnce: config.stdinOnce,
    tty: config.tty,
    resources: resourcesFromWire(linux?.resources, `${at}.linux.resources`),
    security: securityFromWire(linux?.securityContext, `${at}.linux.security_context`),
  };
  const stopSignal = signalFromWire(config.stopSignal, `${at}.stop_signal`);
  if (stopSignal !== undefined) result.stopSignal = stopSignal;
  return result;
}

function metadataFromWire(
  wire: v1.ContainerMetadata | null | undefined,
  at: string,
): ContainerConfig["metadata"] {
  const metadata = required(wire, at);
  return {
    name: singleLine(nonEmpty(metadata.name, `${at}.name`), `${at}.name`),
    attempt: metadata.attempt,
  };
}

function imageFromWire(wire: v1.ImageSpec | null | undefined, at: string): ContainerConfig["image"] {
  const image = required(wire, at);
  return {
    reference: singleLine(nonEmpty(image.image, `${at}.image`), `${at}.image`),
    userSpecified: text(image.userSpecifiedImage, `${at}.user_specified_image`),
    annotations: { ...image.annotations },
    runtimeHandler: text(image.runtimeHandler, `${at}.runtime_handler`),
  };
}

function environmentVariable(wire: v1.KeyValue, at: string): { key: string; value: Uint8Array } {
  nonEmpty(wire.key, `${at}.key`);
  if (wire.key.includes("=")) throw invalidArgument(`${at}.key is ${JSON.stringify(wire.key)}: contains "="`);
  if (wire.value.includes(0)) throw invalidArgument(`${at}.value contains a NUL byte`);
  // A copy: the decoder's value is a view that would keep the whole request in memory as long as the container lives.
  return { key: wire.key, value: new Uint8Array(wire.value) };
}

function deviceFromWire(wire: v1.Device, at: string): ContainerDevice {
  if (!/^(?!.*(.).*\1)[rwm]{1,3}$/.test(wire.permissions))
    throw invalidArgument(
      `${at}.permissions is ${JSON.stringify(wire.permissions)}: not a choice of r, w and m`,
    );
  return {
    containerPath: absolutePath(wire.containerPath, `${at}.container_path`),
    hostPath: absolutePath(wire.hostPath, `${at}.host_path`),
    permissions: wire.permissions,
  };
}

// The daemon opens the log as root below the sandbox's log directory: the path must not lead out (CVE-2025-0750).
function logPath(value: string, at: string): string {
  const path = optionalInnerPath(value, at);
  if (path !== "" && /(^|\/)\.?$/.test(path))
    throw invalidArgument(`${at} is ${JSON.stringify(value)}: not a file`);
  return path;
}

function securityFromWire(
  wire: v1.LinuxContainerSecurityContext | null | undefined,
  at: string,
): ContainerSecurity {
  if (wire === null || wire === undefined) return plainSecurity(at);
  const username = singleLine(wire.runAsUsername, `${at}.run_as_username`);
  if (username !== "" && wire.runAsUser)
    throw invalidArgument(`${at}.run_as_username is given together with run_as_user`);
  const security: ContainerSecurity = {
    namespaces: namespacesFromWire(wire.namespaceOptions, `${at}.namespace_options`),
    privileged: wire.privileged,
    readonlyRootfs: wire.readonlyRootfs,
    noNewPrivs: wire.noNewPrivs,
    ...runAs(wire, username, at),
    runAsUsername: username,
    supplementalGroups: supplementalGroups(wire.supplementalGroups, `${at}.supplemental_groups`),
    supplementalGroupsPolicy: groupsPolicy(wire.supplementalGroupsPolicy, `${at}.supplemental_groups_policy`),
    capabilities: capabilities(wire.capabilities, `${at}.capabilities`),
    maskedPaths: each(wire.maskedPaths, `${at}.masked_paths`, absolutePath),
    readonlyPaths: each(wire.readonlyPaths, `${at}.readonly_paths`, absolutePath),
  };
  addProfiles(security, wire, at);
  return security;
}

function plainSecurity(at: string): ContainerSecurity {
  return {
    namespaces: namespacesFromWire(undefined, at),
    privileged: false,
    readonlyRootfs: false,
    noNewPrivs: false,
    runAsUsername: "",
    supplementalGroups: [],
    supplementalGroupsPolicy: "merge",
    capabilities: { add: [], drop: [], addAmbient: [] },
    maskedPaths: [],
    readonlyPaths: [],
  };
}

function addProfiles(security: ContainerSecurity, wire: v1.LinuxContainerSecurityContext, at: string): void {
  const seccomp = seccompProfile({
    profile: wire.seccomp,
    deprecated: wire.seccompProfilePath,
    at: `${at}.seccomp`,
    deprecatedAt: `${at}.seccomp_profile_path`,
  });
  const apparmor = apparmorProfile({
    profile: wire.apparmor,
    deprecated: wire.apparmorProfile,
    at: `${at}.apparmor`,
    deprecatedAt: `${at}.apparmor_profile`,
  });
  const selinux = selinuxOptions(wire.selinuxOptions, `${at}.selinux_options`);
  if (seccomp !== undefined) security.seccomp = seccomp;
  if (apparmor !== undefined) security.apparmor = apparmor;
  if (selinux !== undefined) security.selinux = selinux;
}

function capabilities(wire: v1.Capability | null | undefined, at: string): ContainerSecurity["capabilities"] {
  if (wire === null || wire === undefined) return { add: [], drop: [], addAmbient: [] };
  return {
    add: each(wire.addCapabilities, `${at}.add_capabilities`, capability),
    drop: each(wire.dropCapabilities, `${at}.drop_capabilities`, capability),
    addAmbient: each(wire.addAmbientCapabilities, `${at}.add_ambient_capabilities`, capability),
  };
}

function capability(value: string, at: string): string {
  if (!/^[A-Za-z][A-Za-z0-9_]*$/.test(value))
    throw invalidArgument(`${at} is ${JSON.stringify(value)}: not a capability name`);
  return value;
}

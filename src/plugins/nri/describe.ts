// Sandboxes and containers as NRI's messages describe them.
import { toInt64 } from "../../../cri-api/int64.ts";
import { v1 } from "../../../cri-api/nri/v1/api.js";
import type { ContainerEnd, ContainerImage } from "../../container/container-record.ts";
import type { Container } from "../../container/container-store.ts";
import type { SecurityProfile } from "../../sandbox/sandbox-config.ts";
import type { Device, IntelRdt, Linux } from "../../oci/linux-spec.ts";
import type { Hooks, Process, Spec } from "../../oci/spec.ts";
import type { Sandbox } from "../../sandbox/sandbox-store.ts";
import { given, pick, resourcesToWire, specResourcesToWire } from "./resources-wire.ts";
import { ioPriorityMessage, schedulerMessage } from "./scheduling-wire.ts";
import { seccompMessage } from "./seccomp-wire.ts";

/** Of a sandbox, beyond its record. */
export interface PodFacts {
  /** Those of a record that does not have them yet. */
  ips?: readonly string[] | undefined;
  /** Where its network namespace is held; undefined where it is gone, or the host's. */
  netns: string | undefined;
}

export function podMessage(
  sandbox: Sandbox,
  { ips = sandbox.record.ips, netns }: PodFacts,
): v1.PodSandboxSent {
  const { config, id, runtimeHandler, cgroupPath, pause, ...record } = sandbox.record;
  const { resources, overhead } = { ...config, ...record };
  return {
    id,
    name: config.metadata.name,
    uid: config.metadata.uid,
    namespace: config.metadata.namespace,
    labels: config.labels,
    annotations: config.annotations,
    runtimeHandler,
    pid: pause?.pid ?? 0,
    ips,
    linux: {
      cgroupParent: config.cgroupParent,
      cgroupsPath: cgroupPath,
      namespaces: podNamespaces(sandbox, netns),
      ...(resources === undefined ? {} : { podResources: resourcesToWire(resources) }),
      ...(overhead === undefined ? {} : { podOverhead: resourcesToWire(overhead) }),
    },
  };
}

/** A type that is left out is the host's. Those of pause can be entered as long as it lives. */
function podNamespaces({ record, pause }: Sandbox, netns: string | undefined): v1.LinuxNamespaceSent[] {
  const { network, ipc, pid, user } = record.config.security.namespaces;
  const ofPod: Record<string, boolean> = {
    uts: network === "pod",
    ipc: ipc === "pod",
    pid: pid === "pod",
    user: user?.mode === "pod",
  };
  const types = pause?.isAlive === true ? Object.keys(ofPod).filter((type) => ofPod[type]) : [];
  return [
    ...(netns === undefined ? [] : [{ type: "network", path: netns }]),
    ...types.map((type) => ({ type, path: `/proc/${pause!.identity.pid}/ns/${type}` })),
  ];
}

const states = {
  created: v1.ContainerState.CONTAINER_CREATED,
  running: v1.ContainerState.CONTAINER_RUNNING,
  exited: v1.ContainerState.CONTAINER_STOPPED,
} as const;

/** `spec`: undefined where it is not at hand any more. */
export function containerMessage(container: Container, spec: Spec | undefined): v1.ContainerSent {
  const { record, state } = container;
  const { config, image, end } = record;
  return {
    id: record.id,
    podSandboxId: record.sandboxId,
    name: config.metadata.name,
    state: states[state],
    labels: config.labels,
    annotations: { ...config.annotations, ...spec?.annotations },
    pid: state === "exited" ? 0 : (record.init?.pid ?? 0),
    createdAt: toInt64(record.createdAtNs),
    ...(record.startedAtNs === undefined ? {} : { startedAt: toInt64(record.startedAtNs) }),
    ...(end === undefined ? {} : endMembers(end)),
    image: imageMessage(image),
    cdiDevices: config.cdiDevices.map((name) => ({ name })),
    ...(spec === undefined ? {} : specMembers(spec)),
    linux: linuxMembers(container, spec?.linux ?? {}, spec?.process),
  };
}

function imageMessage({ id, ref, name }: ContainerImage): v1.ImageSent {
  return { name, digest: /sha256:[0-9a-f]{64}$/.exec(ref)?.[0] ?? id, configDigest: id };
}

function endMembers({ exitCode, reason, message, finishedAtNs }: ContainerEnd): v1.ContainerSent {
  return { finishedAt: toInt64(finishedAtNs), exitCode, statusReason: reason, statusMessage: message };
}

function specMembers({ process, mounts = [], hooks }: Spec): v1.ContainerSent {
  return {
    args: process?.args ?? [],
    env: process?.env ?? [],
    mounts: mounts.map(({ destination, type, source, options }) => ({
      destination,
      type: type ?? "",
      source: source ?? "",
      options: options ?? [],
    })),
    hooks: hooksMessage(hooks ?? {}),
    rlimits: (process?.rlimits ?? []).map(({ type, soft, hard }) => ({
      type,
      soft: toInt64(soft),
      hard: toInt64(hard),
    })),
    ...(process === undefined
      ? {}
      : {
          user: {
            uid: process.user.uid,
            gid: process.user.gid,
            additionalGids: process.user.additionalGids ?? [],
          },
        }),
  };
}

function hooksMessage(hooks: Hooks): v1.HooksSent {
  return Object.fromEntries(
    Object.entries(hooks).map(([kind, list]) => [
      kind,
      (list as NonNullable<Hooks[keyof Hooks]>).map(({ path, args, env, timeout }) => ({
        path,
        args: args ?? [],
        env: env ?? [],
        ...(timeout === undefined ? {} : { timeout: { value: toInt64(BigInt(timeout)) } }),
      })),
    ]),
  );
}

function linuxMembers({ record }: Container, linux: Linux, process?: Process): v1.LinuxContainerSent {
  const { seccomp } = record.config.security;
  return {
    namespaces: (linux.namespaces ?? []).map(({ type, path }) => ({ type, path: path ?? "" })),
    devices: (linux.devices ?? []).map(deviceMessage),
    resources: { ...specResourcesToWire(linux.resources ?? {}), ...resourcesToWire(record.resources) },
    oomScoreAdj: { value: toInt64(BigInt(process?.oomScoreAdj ?? record.resources.oomScoreAdj)) },
    cgroupsPath: record.cgroupPath,
    sysctl: linux.sysctl ?? {},
    netDevices: linux.netDevices ?? {},
    ...pick({
      seccompProfile: given(seccomp, profileMessage),
      seccompPolicy: given(linux.seccomp, seccompMessage),
      rdt: given(linux.intelRdt, rdtMessage),
      ioPriority: given(process?.ioPriority, ioPriorityMessage),
      scheduler: given(process?.scheduler, schedulerMessage),
    }),
  };
}

function rdtMessage({ closID = "", schemata = [], enableMonitoring = false }: IntelRdt): v1.LinuxRdtSent {
  return {
    closId: { value: closID },
    schemata: { value: schemata },
    enableMonitoring: { value: enableMonitoring },
  };
}

function deviceMessage({ path, type, major = 0, minor = 0, fileMode, uid, gid }: Device): v1.LinuxDeviceSent {
  return {
    path,
    type,
    major: toInt64(BigInt(major)),
    minor: toInt64(BigInt(minor)),
    ...(fileMode === undefined ? {} : { fileMode: { value: fileMode } }),
    ...(uid === undefined ? {} : { uid: { value: uid } }),
    ...(gid === undefined ? {} : { gid: { value: gid } }),
  };
}

function profileMessage(profile: SecurityProfile): v1.SecurityProfileSent {
  const types = v1.SecurityProfileType;
  if (profile.type === "localhost") return { profileType: types.LOCALHOST, localhostRef: profile.ref };
  return { profileType: profile.type === "unconfined" ? types.UNCONFINED : types.RUNTIME_DEFAULT };
}

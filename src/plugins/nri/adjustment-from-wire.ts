// What plugins want of a new container, in the terms of the OCI spec. Words such as names of namespaces or actions of
// seccomp are passed on as they come: the adjusted spec is checked as a whole.
import { invalidArgument } from "../../base/errors.ts";
import { fromInt64 } from "../../../cri-api/int64.ts";
import type { v1 } from "../../../cri-api/nri/v1/api.js";
import type { GrantedDevice } from "../../container/build-devices.ts";
import type { LaunchAdjustment } from "../../container/launch-adjustment.ts";
import {
  memoryPolicyModes,
  type IntelRdt,
  type MemoryPolicy,
  type Namespace,
  type NamespaceType,
  type NetDevice,
} from "../../oci/linux-spec.ts";
import type { Hook, Hooks } from "../../oci/spec.ts";
import { removedName } from "./merge-adjustment.ts";
import { given, pick, specResourcesFromWire } from "./resources-wire.ts";
import { ioPriorityOf, schedulerOf } from "./scheduling-wire.ts";
import { seccompOf } from "./seccomp-wire.ts";

/** Without CDI devices, classes and RDT. @throws CricketError invalid-argument naming what cannot be done */
export function adjustmentFromWire(wire: v1.ContainerAdjustmentSent): LaunchAdjustment {
  const { annotations, mounts, env, hooks, rlimits, args } = wire;
  return {
    ...pick({ annotations: annotations && recordOf(annotations), hooks: hooks && hooksOf(hooks) }),
    // None: those that the container has anyway.
    ...pick({
      args: (args ?? []).length === 0 ? undefined : args,
      env: env?.map(variableOf),
      mounts: mounts?.map(mountOf),
    }),
    ...(rlimits === undefined || rlimits === null
      ? {}
      : {
          rlimits: rlimits.map(({ type, soft, hard }) => ({
            type: type ?? "",
            soft: BigInt.asUintN(64, fromInt64(soft)),
            hard: BigInt.asUintN(64, fromInt64(hard)),
          })),
        }),
    ...linuxOf(wire.linux ?? {}),
  };
}

function linuxOf(linux: v1.LinuxContainerAdjustmentSent): LaunchAdjustment {
  return pick({
    devices: linux.devices?.map(deviceOf),
    namespaces: linux.namespaces?.map(namespaceOf),
    resources: given(linux.resources, specResourcesFromWire),
    cgroupsPath: linux.cgroupsPath === "" ? undefined : given(linux.cgroupsPath, cgroupPathOf),
    oomScoreAdj: given(linux.oomScoreAdj, scoreOf),
    ioPriority: given(linux.ioPriority, ioPriorityOf),
    scheduler: given(linux.scheduler, schedulerOf),
    seccomp: given(linux.seccompPolicy, seccompOf),
    sysctl: given(linux.sysctl, recordOf),
    netDevices: given(linux.netDevices, netDevicesOf),
    memoryPolicy: given(linux.memoryPolicy, memoryPolicyOf),
  }) as LaunchAdjustment;
}

/** To be applied after the class: what a plugin asks for beside it, or in its place. */
export function rdtFromWire(rdt: v1.LinuxRdtSent | null | undefined): LaunchAdjustment[] {
  if (rdt === undefined || rdt === null) return [];
  const intelRdt: IntelRdt = pick({
    closID: rdt.closId?.value,
    schemata: given(rdt.schemata?.value, (lines) => [...lines]),
    enableMonitoring: rdt.enableMonitoring?.value,
  });
  return [
    ...(rdt.remove === true ? [{ intelRdt: null }] : []),
    ...(Object.keys(intelRdt).length === 0 ? [] : [{ intelRdt }]),
  ];
}

function recordOf(wire: Record<string, string>): Record<string, string | null> {
  const result: Record<string, string | null> = {};
  for (const key of Object.keys(wire)) result[removedName(key) ?? key] = null;
  for (const [key, value] of Object.entries(wire)) if (removedName(key) === undefined) result[key] = value;
  return result;
}

function variableOf({ key = "", value }: v1.KeyValueSent): { key: string; value: string | null } {
  const removed = removedName(key ?? "");
  return removed === undefined ? { key: key ?? "", value: value ?? "" } : { key: removed, value: null };
}

type MountChange = NonNullable<LaunchAdjustment["mounts"]>[number];

function mountOf({ destination, type, source, options }: v1.MountSent): MountChange {
  const removed = removedName(destination ?? "");
  if (removed !== undefined) return { destination: removed, mount: null };
  const target = destination ?? "";
  return {
    destination: target,
    mount: { destination: target, type: type ?? "", source: source ?? "", options: [...(options ?? [])] },
  };
}

function deviceOf(device: v1.LinuxDeviceSent): { path: string; device: GrantedDevice | null } {
  const path = device.path ?? "";
  const removed = removedName(path);
  if (removed !== undefined) return { path: removed, device: null };
  return {
    path,
    device: {
      path,
      type: device.type as GrantedDevice["type"],
      major: Number(fromInt64(device.major)),
      minor: Number(fromInt64(device.minor)),
      // Plugins in Go send os.FileMode, which has bits of its own for the type of the file.
      ...pick({
        fileMode: given(device.fileMode?.value, (mode) => mode & 0o7777),
        uid: device.uid?.value,
        gid: device.gid?.value,
      }),
      permissions: "rwm",
    } as GrantedDevice,
  };
}

function namespaceOf({ type, path }: v1.LinuxNamespaceSent): {
  type: NamespaceType;
  namespace: Namespace | null;
} {
  const removed = removedName(type ?? "");
  if (removed !== undefined) return { type: removed as NamespaceType, namespace: null };
  const known = type as NamespaceType;
  return {
    type: known,
    namespace: { type: known, ...(path === undefined || path === null || path === "" ? {} : { path }) },
  };
}

const hookKinds = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
] as const;

function hooksOf(wire: v1.HooksSent): Hooks {
  return Object.fromEntries(
    hookKinds
      .map((kind) => [kind, (wire[kind] ?? []).map(hookOf)] as const)
      .filter(([, list]) => list.length > 0),
  );
}

function hookOf({ path, args, env, timeout }: v1.HookSent): Hook {
  return {
    path: path ?? "",
    ...((args ?? []).length === 0 ? {} : { args: [...args!] }),
    env: [...(env ?? [])],
    ...(timeout === undefined || timeout === null ? {} : { timeout: Number(fromInt64(timeout.value)) }),
  };
}

function cgroupPathOf(path: string): string {
  if (!path.startsWith("/") || path.split("/").some((part) => part === ".." || part === "."))
    throw invalidArgument(
      `a plugin sets the cgroups path ${JSON.stringify(path)}: not an absolute cgroup path`,
    );
  return path;
}

function scoreOf({ value }: v1.OptionalInt64Sent): number {
  const score = fromInt64(value);
  if (score < -1000n || score > 1000n)
    throw invalidArgument(`a plugin sets oom_score_adj ${score}: not in -1000..1000`);
  return Number(score);
}

function netDevicesOf(wire: Record<string, v1.LinuxNetDeviceSent>): Record<string, NetDevice | null> {
  const result: Record<string, NetDevice | null> = {};
  for (const key of Object.keys(wire)) result[removedName(key) ?? key] = null;
  for (const [key, device] of Object.entries(wire))
    if (removedName(key) === undefined)
      result[key] = pick({ name: device.name === "" ? undefined : device.name });
  return result;
}

const memoryFlags = ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES", "MPOL_F_NUMA_BALANCING"];

function memoryPolicyOf({ mode, nodes, flags }: v1.LinuxMemoryPolicySent): MemoryPolicy {
  return {
    mode: memoryPolicyModes[mode ?? 0] ?? (String(mode) as MemoryPolicy["mode"]),
    ...pick({ nodes: nodes === "" ? undefined : nodes }),
    flags: (flags ?? []).map((flag) => memoryFlags[flag] ?? String(flag)) as NonNullable<
      MemoryPolicy["flags"]
    >,
  };
}

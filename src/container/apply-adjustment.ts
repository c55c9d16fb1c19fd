// Spec and adjustment -> spec. Pure, like build-spec.ts.
import { invalidArgument } from "../base/errors.ts";
import type { BlockIoResources, Linux, Resources } from "../oci/linux-spec.ts";
import type { Hooks, Mount, Process, Spec } from "../oci/spec.ts";
import { buildDeviceRules, type GrantedDevice } from "./build-devices.ts";
import { sortByDepth } from "./build-mounts.ts";
import type { ContainerSpec } from "./build-spec.ts";
import type { LaunchAdjustment } from "./launch-adjustment.ts";

/** @throws CricketError invalid-argument for what no container can have */
export function applyAdjustment({ spec, env }: ContainerSpec, change: LaunchAdjustment): ContainerSpec {
  const newEnv = adjustEnv(env, change.env ?? []);
  const annotations = adjustRecord(spec.annotations, change.annotations);
  const adjusted: Spec = {
    ...spec,
    ...(annotations === undefined ? {} : { annotations }),
    ...(change.mounts === undefined ? {} : { mounts: adjustMounts(spec.mounts ?? [], change.mounts) }),
    ...(change.hooks === undefined ? {} : { hooks: joinHooks(spec.hooks ?? {}, change.hooks) }),
    ...(spec.process === undefined ? {} : { process: adjustProcess(spec.process, change, newEnv) }),
    linux: adjustLinux(spec.linux ?? {}, change),
  };
  return { spec: adjusted, env: newEnv };
}

function adjustEnv(env: Uint8Array[], changes: NonNullable<LaunchAdjustment["env"]>): Uint8Array[] {
  if (changes.length === 0) return env;
  for (const { key, value } of changes)
    if (!/^[^=\0]+$/.test(key) || value?.includes("\0") === true)
      throw invalidArgument(`adjustment: ${JSON.stringify(key)} cannot be set in the environment`);
  const changed = new Set(changes.map(({ key }) => key));
  const keyOf = (line: Uint8Array): string => Buffer.from(line).toString().split("=", 1)[0] ?? "";
  const kept = env.filter((line) => !changed.has(keyOf(line)));
  const added = new Map<string, string>();
  for (const { key, value } of changes)
    if (value === null) added.delete(key);
    else added.set(key, value);
  return [...kept, ...[...added].map(([key, value]) => Buffer.from(`${key}=${value}`))];
}

function adjustRecord<T>(
  now: Record<string, T> | undefined,
  changes: Record<string, T | null> | undefined,
): Record<string, T> | undefined {
  if (changes === undefined) return now;
  const result = { ...now };
  for (const [key, value] of Object.entries(changes)) {
    if (value === null) delete result[key];
    else result[key] = value;
  }
  return result;
}

function adjustMounts(mounts: Mount[], changes: NonNullable<LaunchAdjustment["mounts"]>): Mount[] {
  const result = new Map<string, Mount[]>();
  for (const mount of mounts)
    result.set(mount.destination, [...(result.get(mount.destination) ?? []), mount]);
  for (const { destination, mount } of changes) {
    if (!destination.startsWith("/") || destination.includes("\0"))
      throw invalidArgument(`adjustment: mount at ${JSON.stringify(destination)}: not an absolute path`);
    result.delete(destination);
    if (mount !== null) result.set(destination, [mount]);
  }
  return sortByDepth([...result.values()].flat());
}

function joinHooks(now: Hooks, added: Hooks): Hooks {
  const result: Hooks = { ...now };
  for (const [kind, hooks] of Object.entries(added) as [keyof Hooks, Hooks[keyof Hooks]][]) {
    for (const { path } of hooks ?? [])
      if (!path.startsWith("/"))
        throw invalidArgument(`adjustment: ${kind} hook ${JSON.stringify(path)}: not an absolute path`);
    if (hooks !== undefined && hooks.length > 0) result[kind] = [...(now[kind] ?? []), ...hooks];
  }
  return result;
}

function adjustProcess(process: Process, change: LaunchAdjustment, env: readonly Uint8Array[]): Process {
  const { args, oomScoreAdj, ioPriority, scheduler, rlimits, additionalGids } = change;
  const limited = new Set(rlimits?.map(({ type }) => type));
  const groups = new Set([...(process.user.additionalGids ?? []), ...(additionalGids ?? [])]);
  return {
    ...process,
    env: env.map((line) => Buffer.from(line).toString("utf8")),
    ...(args === undefined ? {} : { args: [...args] }),
    ...(oomScoreAdj === undefined ? {} : { oomScoreAdj }),
    ...(ioPriority === undefined ? {} : { ioPriority }),
    ...(scheduler === undefined ? {} : { scheduler }),
    ...(rlimits === undefined
      ? {}
      : { rlimits: [...(process.rlimits ?? []).filter(({ type }) => !limited.has(type)), ...rlimits] }),
    ...(additionalGids === undefined ? {} : { user: { ...process.user, additionalGids: [...groups] } }),
  };
}

function adjustLinux(linux: Linux, change: LaunchAdjustment): Linux {
  const { cgroupsPath, seccomp, intelRdt, memoryPolicy } = change;
  const sysctl = adjustRecord(linux.sysctl, change.sysctl);
  const netDevices = adjustRecord(linux.netDevices, change.netDevices);
  const result: Linux = {
    ...linux,
    ...(cgroupsPath === undefined ? {} : { cgroupsPath }),
    ...(seccomp === undefined ? {} : { seccomp }),
    ...(sysctl === undefined ? {} : { sysctl }),
    ...(netDevices === undefined ? {} : { netDevices }),
    ...(memoryPolicy === undefined ? {} : { memoryPolicy }),
    ...adjustDevices(linux, change),
    ...adjustNamespaces(linux, change),
  };
  if (intelRdt === null) delete result.intelRdt;
  else if (intelRdt !== undefined) result.intelRdt = { ...linux.intelRdt, ...intelRdt };
  return result;
}

function adjustNamespaces({ namespaces = [] }: Linux, change: LaunchAdjustment): Pick<Linux, "namespaces"> {
  const changed = new Set(change.namespaces?.map(({ type }) => type));
  const added = (change.namespaces ?? []).flatMap(({ namespace }) => namespace ?? []);
  return { namespaces: [...namespaces.filter(({ type }) => !changed.has(type)), ...added] };
}

function adjustDevices(linux: Linux, change: LaunchAdjustment): Pick<Linux, "devices" | "resources"> {
  const changed = new Set(change.devices?.map(({ path }) => path));
  const granted = (change.devices ?? []).flatMap(({ device }): GrantedDevice | [] => device ?? []);
  const added = granted.map(({ permissions: _permissions, hostPath: _hostPath, ...device }) => device);
  // Only the rules of these devices: the ones every container has are there already.
  const rules = granted.length === 0 ? [] : buildDeviceRules(false, granted).slice(-granted.length);
  return {
    devices: [...(linux.devices ?? []).filter(({ path }) => !changed.has(path)), ...added],
    resources: adjustResources(linux.resources ?? {}, change, rules),
  };
}

function adjustResources(
  now: Resources,
  { resources = {} }: LaunchAdjustment,
  rules: NonNullable<Resources["devices"]>,
): Resources {
  const { devices, memory, cpu, hugepageLimits, unified, blockIO, ...rest } = resources;
  const sizes = new Set(hugepageLimits?.map(({ pageSize }) => pageSize));
  return {
    ...adjustBlockIo(now, blockIO),
    ...rest,
    devices: [...(now.devices ?? []), ...rules, ...(devices ?? [])],
    ...(memory === undefined ? {} : { memory: { ...now.memory, ...memory } }),
    ...(cpu === undefined ? {} : { cpu: { ...now.cpu, ...cpu } }),
    ...(unified === undefined ? {} : { unified: { ...now.unified, ...unified } }),
    ...(hugepageLimits === undefined
      ? {}
      : {
          hugepageLimits: [
            ...(now.hugepageLimits ?? []).filter(({ pageSize }) => !sizes.has(pageSize)),
            ...hugepageLimits,
          ],
        }),
  };
}

function adjustBlockIo(
  { blockIO: now, ...others }: Resources,
  change: BlockIoResources | null | undefined,
): Resources {
  const blockIO = change === undefined ? now : change;
  return blockIO === undefined || blockIO === null ? others : { ...others, blockIO };
}

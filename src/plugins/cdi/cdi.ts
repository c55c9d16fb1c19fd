// CDI devices that a container asks for, in its CRI field or its annotations, as changes to its OCI spec.
import { lstatSync } from "node:fs";
import { CricketError, errnoOf, failedPrecondition, invalidArgument } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { CdiConfig } from "../../config/config.ts";
import type { GrantedDevice } from "../../container/build-devices.ts";
import type { ContainerConfig } from "../../container/container-config.ts";
import type { LaunchAdjuster, LaunchSubject } from "../../container/container-participant.ts";
import type { LaunchAdjustment } from "../../container/launch-adjustment.ts";
import { deviceNumbers } from "../../container/resolve-devices.ts";
import type { Hooks, Spec } from "../../oci/spec.ts";
import { CdiRegistry, type FoundDevice } from "./cdi-registry.ts";
import {
  parseQualifiedName,
  type CdiHook,
  type CdiMount,
  type ContainerEdits,
  type DeviceNode,
} from "./cdi-spec.ts";

const annotationPrefix = "cdi.k8s.io/";

export class Cdi implements LaunchAdjuster {
  readonly #registry: CdiRegistry;

  constructor({ specDirs }: CdiConfig, log: Log) {
    this.#registry = new CdiRegistry(specDirs, log);
  }

  adjustLaunch({ container, spec }: LaunchSubject): Promise<readonly LaunchAdjustment[]> | undefined {
    const names = requestedDevices(container.record.config);
    return names.length === 0 ? undefined : this.resolve(names, spec);
  }

  launchFailed(): void {
    // Nothing was made.
  }

  /**
   * What the devices bring, by their qualified names: first what all devices of a file have in common, then each.
   * @throws CricketError naming the device that is not there
   */
  async resolve(names: readonly string[], spec: Spec): Promise<LaunchAdjustment[]> {
    const found = await this.#registry.find([...new Set(names)]);
    const facts = {
      user: spec.process?.user ?? { uid: 0, gid: 0 },
      isIdmapped: spec.linux?.namespaces?.some(({ type }) => type === "user") === true,
    };
    return editsOf(found).flatMap(({ edits, name }) => {
      try {
        // The whole of it takes the place of another device's.
        const withoutRdt = edits.intelRdt === undefined ? [] : [{ intelRdt: null }];
        return [...withoutRdt, adjustmentOf(edits, facts)];
      } catch (error) {
        const code = error instanceof CricketError ? error.code : "internal";
        throw new CricketError(code, `CDI device ${name}: ${(error as Error).message}`, { cause: error });
      }
    });
  }
}

/** @throws CricketError invalid-argument naming the annotation */
export function requestedDevices({ cdiDevices, annotations }: ContainerConfig): string[] {
  const names = [...cdiDevices];
  for (const [key, value] of Object.entries(annotations)) {
    if (!key.startsWith(annotationPrefix)) continue;
    for (const name of value.split(",")) {
      if (parseQualifiedName(name) === undefined)
        throw invalidArgument(`annotation ${key} is ${JSON.stringify(value)}: not a list of CDI devices`);
      names.push(name);
    }
  }
  return names;
}

function editsOf(found: readonly FoundDevice[]): { edits: ContainerEdits; name: string }[] {
  const seen = new Set<string>();
  return found.flatMap(({ device, spec, path }) => {
    const name = `${spec.kind}=${device.name}`;
    const common = seen.has(path) ? undefined : spec.containerEdits;
    seen.add(path);
    return [common, device.containerEdits].flatMap((edits) => (edits === undefined ? [] : [{ edits, name }]));
  });
}

/** Of the container so far. */
interface ContainerFacts {
  user: { uid: number; gid: number };
  /** It has a user namespace, whose ids what is bound into it is to be seen in. */
  isIdmapped: boolean;
}

function adjustmentOf(edits: ContainerEdits, { user, isIdmapped }: ContainerFacts): LaunchAdjustment {
  const groups = (edits.additionalGids ?? []).filter((gid) => gid !== 0);
  return {
    ...(edits.env === undefined ? {} : { env: edits.env.map(variableOf) }),
    ...(edits.deviceNodes === undefined
      ? {}
      : { devices: edits.deviceNodes.map((node) => grant(node, user)) }),
    ...(edits.mounts === undefined
      ? {}
      : { mounts: edits.mounts.map((mount) => mountOf(mount, isIdmapped)) }),
    ...(edits.netDevices === undefined ? {} : { netDevices: netDevicesOf(edits.netDevices) }),
    ...(edits.hooks === undefined ? {} : { hooks: hooksOf(edits.hooks) }),
    ...(groups.length === 0 ? {} : { additionalGids: groups }),
    ...(edits.intelRdt === undefined ? {} : { intelRdt: edits.intelRdt }),
  };
}

function netDevicesOf(
  devices: NonNullable<ContainerEdits["netDevices"]>,
): NonNullable<LaunchAdjustment["netDevices"]> {
  return Object.fromEntries(devices.map(({ hostInterfaceName, name }) => [hostInterfaceName, { name }]));
}

function variableOf(line: string): { key: string; value: string } {
  const at = line.indexOf("=");
  return { key: line.slice(0, at), value: line.slice(at + 1) };
}

/**
 * In a pod with a user namespace it has the pod's ids, as the specification's own code has it since 1.1: a device that
 * is used by root is root's inside, too. What must not be written to says `ro`.
 */
function mountOf(
  { hostPath, containerPath, options = [], type }: CdiMount,
  isIdmapped: boolean,
): NonNullable<LaunchAdjustment["mounts"]>[number] {
  const isBind = options.some((option) => option === "bind" || option === "rbind");
  // Without a word on it, it is a bind mount: that is what hostPath and containerPath are.
  const kind = type === undefined || type === "" || type === "none" ? "bind" : type;
  const asBind = kind === "bind" && !isBind ? ["rbind", ...options] : options;
  return {
    destination: containerPath,
    mount: {
      destination: containerPath,
      source: hostPath,
      type: isBind ? "bind" : kind,
      options: isIdmapped ? withIdmap(asBind) : asBind,
    },
  };
}

function withIdmap(options: readonly string[]): string[] {
  if (options.some((option) => option === "idmap" || option === "ridmap")) return [...options];
  const own = { bind: "idmap", rbind: "ridmap" };
  const idmap = options.flatMap((option) =>
    Object.hasOwn(own, option) ? own[option as keyof typeof own] : [],
  );
  return [...options, ...idmap.slice(-1)];
}

function hooksOf(hooks: readonly CdiHook[]): Hooks {
  const result: Hooks = {};
  for (const { hookName, timeout, ...hook } of hooks)
    result[hookName] = [
      ...(result[hookName] ?? []),
      { ...hook, ...(timeout === undefined || timeout === 0 ? {} : { timeout }) },
    ];
  return result;
}

type DeviceChange = NonNullable<LaunchAdjustment["devices"]>[number];

/** What the file leaves out is that of the host's device; its owner is the container's user, as with every runtime. */
function grant(node: DeviceNode, user: { uid: number; gid: number }): DeviceChange {
  const { path, permissions = "" } = node;
  const host = hostDevice(node);
  const device: GrantedDevice = {
    path,
    ...(node.hostPath === undefined ? {} : { hostPath: node.hostPath }),
    ...host,
    ...(node.fileMode === undefined ? {} : { fileMode: node.fileMode }),
    ...ownerOf(node, user),
    permissions: permissions === "" ? "rwm" : permissions.replace("none", ""),
  };
  return { path, device };
}

function ownerOf(
  { uid, gid }: DeviceNode,
  user: { uid: number; gid: number },
): Pick<GrantedDevice, "uid" | "gid"> {
  return {
    ...(uid === undefined && user.uid === 0 ? {} : { uid: uid ?? user.uid }),
    ...(gid === undefined && user.gid === 0 ? {} : { gid: gid ?? user.gid }),
  };
}

function hostDevice(node: DeviceNode): Pick<GrantedDevice, "type" | "major" | "minor" | "fileMode"> {
  const { path, hostPath = path, type } = node;
  const found = findDevice(hostPath);
  const described = describedDevice(node);
  // Described well enough: it need not be there yet.
  if (described !== undefined)
    return found === undefined ? described : { ...described, fileMode: found.fileMode };
  if (found === undefined) throw failedPrecondition(`${hostPath} is not a device of this host`);
  const isSameType = type === undefined || type === found.type || (type === "u" && found.type === "c");
  if (!isSameType) throw failedPrecondition(`${hostPath} is a device of type ${found.type}, not ${type}`);
  return found;
}

function describedDevice({
  type,
  major = 0,
  minor = 0,
}: DeviceNode): Pick<GrantedDevice, "type" | "major" | "minor"> | undefined {
  return type !== undefined && (major !== 0 || type === "p") ? { type, major, minor } : undefined;
}

function findDevice(
  path: string,
): { type: "b" | "c" | "p"; major: number; minor: number; fileMode: number } | undefined {
  try {
    const stats = lstatSync(path);
    const fileMode = stats.mode & 0o7777;
    if (stats.isFIFO()) return { type: "p", major: 0, minor: 0, fileMode };
    if (!stats.isBlockDevice() && !stats.isCharacterDevice()) return undefined;
    return { type: stats.isBlockDevice() ? "b" : "c", ...deviceNumbers(stats.rdev), fileMode };
  } catch (error) {
    if (errnoOf(error) !== undefined) return undefined;
    throw error;
  }
}

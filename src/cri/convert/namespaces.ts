// NamespaceOption: which namespaces are the pod's, the container's, another container's or the node's.
import { invalidArgument } from "../../base/errors.ts";
import type {
  IdMapping,
  NamespaceMode,
  NamespaceOptions,
  UserNamespaceOptions,
} from "../../sandbox/sandbox-config.ts";
import { v1 } from "../../../cri-api/runtime/v1/api.js";
import { each, enumChoice, nonEmpty, text } from "./field.ts";

/** For a sandbox, which has no other container to join, TARGET makes no sense. */
export function sandboxNamespaces(wire: v1.NamespaceOption | null | undefined, at: string): NamespaceOptions {
  const options = namespacesFromWire(wire, at);
  if (options.pid === "target") throw invalidArgument(`${at}.pid is TARGET: only a container can have that`);
  return options;
}

/** Left out: all namespaces are the pod's. */
export function namespacesFromWire(
  wire: v1.NamespaceOption | null | undefined,
  at: string,
): NamespaceOptions {
  if (wire === null || wire === undefined) return { network: "pod", pid: "pod", ipc: "pod", targetId: "" };
  const podOrNode = { POD: "pod", NODE: "node" } as const;
  const pidModes = { POD: "pod", CONTAINER: "container", NODE: "node", TARGET: "target" } as const;
  const pid = enumChoice<NamespaceMode>(wire.pid, v1.NamespaceMode, pidModes, `${at}.pid`);
  const options: NamespaceOptions = {
    network: enumChoice(wire.network, v1.NamespaceMode, podOrNode, `${at}.network`),
    pid,
    ipc: enumChoice(wire.ipc, v1.NamespaceMode, podOrNode, `${at}.ipc`),
    targetId:
      pid === "target" ? nonEmpty(wire.targetId, `${at}.target_id`) : text(wire.targetId, `${at}.target_id`),
  };
  if (wire.usernsOptions) options.user = userNamespaceFromWire(wire.usernsOptions, `${at}.userns_options`);
  return options;
}

function userNamespaceFromWire(wire: v1.UserNamespace, at: string): UserNamespaceOptions {
  const mode = enumChoice(wire.mode, v1.NamespaceMode, { POD: "pod", NODE: "node" } as const, `${at}.mode`);
  const uids = idMappings(wire.uids, `${at}.uids`);
  const gids = idMappings(wire.gids, `${at}.gids`);
  if (mode === "node") {
    for (const [name, mappings] of Object.entries({ uids, gids }))
      if (mappings.length > 0) throw invalidArgument(`${at}.${name} is given, but mode is NODE`);
  } else {
    assertOneMapping(uids, `${at}.uids`);
    assertOneMapping(gids, `${at}.gids`);
  }
  return { mode, uids, gids };
}

// CRI: more than one mapping is not supported, and id 0 of the container has to be mapped.
function assertOneMapping(mappings: readonly IdMapping[], at: string): void {
  if (mappings.length !== 1)
    throw invalidArgument(`${at} has ${mappings.length} mappings: exactly one is needed`);
  if (mappings[0]?.containerId !== 0)
    throw invalidArgument(`${at}[0].container_id is ${mappings[0]?.containerId}: id 0 has to be mapped`);
}

/** Mappings of ids; each has a length and stays within 32 bits on both sides. */
export function idMappings(wire: readonly v1.IDMapping[], at: string): IdMapping[] {
  return each(wire, at, (mapping, where) => {
    const { hostId, containerId, length } = mapping;
    if (length === 0) throw invalidArgument(`${where}.length is 0`);
    // 2^32 - 1 is not an id: the kernel uses it for "no id".
    if (hostId + length > 0xffff_ffff)
      throw invalidArgument(`${where}.host_id + length is ${hostId + length}: more than 32 bits`);
    if (containerId + length > 0xffff_ffff)
      throw invalidArgument(`${where}.container_id + length is ${containerId + length}: more than 32 bits`);
    return { hostId, containerId, length };
  });
}

const modeNumbers: Record<NamespaceMode, number> = {
  pod: v1.NamespaceMode.POD,
  container: v1.NamespaceMode.CONTAINER,
  node: v1.NamespaceMode.NODE,
  target: v1.NamespaceMode.TARGET,
};

/** The kubelet compares these with what it asked for and makes a new sandbox when they differ. */
export function namespacesToWire(options: NamespaceOptions): v1.NamespaceOptionSent {
  const { user } = options;
  return {
    network: modeNumbers[options.network],
    pid: modeNumbers[options.pid],
    ipc: modeNumbers[options.ipc],
    targetId: options.targetId,
    ...(user === undefined
      ? {}
      : { usernsOptions: { mode: modeNumbers[user.mode], uids: user.uids, gids: user.gids } }),
  };
}

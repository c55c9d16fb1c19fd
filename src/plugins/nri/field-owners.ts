// Which plugin has set which field of a container: no two may set the same one.
import { failedPrecondition } from "../../base/errors.ts";
import type { v1 } from "../../../cri-api/nri/v1/api.js";

/** Numbers of the interface's Field, by which validators are told of owners. */
export const field = {
  annotation: 1,
  mount: 2,
  hooks: 3,
  device: 4,
  cdiDevice: 5,
  env: 6,
  args: 7,
  memoryLimit: 8,
  memoryReservation: 9,
  memorySwap: 10,
  memoryKernel: 11,
  memoryKernelTcp: 12,
  memorySwappiness: 13,
  memoryDisableOomKiller: 14,
  memoryUseHierarchy: 15,
  cpuShares: 16,
  cpuQuota: 17,
  cpuPeriod: 18,
  cpuRealtimeRuntime: 19,
  cpuRealtimePeriod: 20,
  cpusetCpus: 21,
  cpusetMems: 22,
  pidsLimit: 23,
  hugepageLimit: 24,
  blockioClass: 25,
  rdtClass: 26,
  unified: 27,
  cgroupsPath: 28,
  oomScoreAdj: 29,
  rlimit: 30,
  ioPriority: 31,
  seccompPolicy: 32,
  namespace: 33,
  sysctl: 34,
  netDevice: 35,
  scheduler: 36,
  rdtClosId: 37,
  rdtSchemata: 38,
  rdtEnableMonitoring: 39,
  memoryPolicy: 40,
} as const;

export type FieldName = keyof typeof field;

/** What `owners.claim` calls the field in its error. */
function describe(name: FieldName, key: string | undefined): string {
  const words = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return key === undefined ? words : `${words} ${JSON.stringify(key)}`;
}

class ContainerFields {
  readonly simple = new Map<FieldName, string>();
  readonly compound = new Map<FieldName, Map<string, string>>();
  /** Who has taken away an entry, also of those that no plugin had set. */
  readonly removers = new Map<FieldName, string>();
}

/** An owner that has only removed what an earlier one had set: it alone may set it anew. */
const removerMark = "-";

export class FieldOwners {
  readonly #containers = new Map<string, ContainerFields>();

  /**
   * `key` for what has entries: the destination of a mount, the name of a variable.
   * @throws CricketError failed-precondition naming both plugins
   */
  claim(containerId: string, plugin: string, name: FieldName, key?: string): void {
    const owner = this.ownerOf(containerId, name, key);
    if (owner !== undefined && owner !== removerMark + plugin)
      throw failedPrecondition(
        owner === plugin
          ? `plugin ${plugin} sets ${describe(name, key)} twice`
          : `plugins ${pluginOf(owner)} and ${plugin} both set ${describe(name, key)}`,
      );
    this.#set(containerId, plugin, name, key);
  }

  /** As `claim`, for what several may add to. */
  share(containerId: string, plugin: string, name: FieldName): void {
    const owner = this.ownerOf(containerId, name);
    this.#set(containerId, owner === undefined ? plugin : `${owner},${plugin}`, name);
  }

  /** A plugin that removes what an earlier one has set owns it from then on. */
  remove(containerId: string, plugin: string, name: FieldName, key?: string): void {
    this.#fieldsOf(containerId).removers.set(name, plugin);
    if (this.ownerOf(containerId, name, key) !== undefined) this.seize(containerId, plugin, name, key);
  }

  /** As `remove`, also of what no plugin has set. */
  seize(containerId: string, plugin: string, name: FieldName, key?: string): void {
    this.#set(containerId, removerMark + plugin, name, key);
  }

  /** Some plugin that sets or removes the field, or one of its entries. */
  adjusterOf(containerId: string, name: FieldName): string | undefined {
    const fields = this.#containers.get(containerId);
    const [entryOwner] = fields?.compound.get(name)?.values() ?? [];
    const owner = fields?.simple.get(name) ?? entryOwner ?? fields?.removers.get(name);
    return owner === undefined ? undefined : pluginOf(owner);
  }

  ownerOf(containerId: string, name: FieldName, key?: string): string | undefined {
    const fields = this.#containers.get(containerId);
    return key === undefined ? fields?.simple.get(name) : fields?.compound.get(name)?.get(key);
  }

  toWire(): v1.OwningPluginsSent {
    const owners: Record<string, v1.FieldOwnersSent> = {};
    for (const [id, { simple, compound }] of this.#containers)
      owners[id] = {
        simple: Object.fromEntries([...simple].map(([name, plugin]) => [field[name], plugin])),
        compound: Object.fromEntries(
          [...compound].map(([name, entries]) => [field[name], { owners: Object.fromEntries(entries) }]),
        ),
      };
    return { owners };
  }

  #set(containerId: string, plugin: string, name: FieldName, key?: string): void {
    const fields = this.#fieldsOf(containerId);
    if (key === undefined) {
      fields.simple.set(name, plugin);
      return;
    }
    let entries = fields.compound.get(name);
    if (entries === undefined) fields.compound.set(name, (entries = new Map()));
    entries.set(key, plugin);
  }

  #fieldsOf(containerId: string): ContainerFields {
    let fields = this.#containers.get(containerId);
    if (fields === undefined) this.#containers.set(containerId, (fields = new ContainerFields()));
    return fields;
  }
}

function pluginOf(owner: string): string {
  return owner.startsWith(removerMark) ? owner.slice(removerMark.length) : owner;
}

// Adjustments of a new container by several plugins, one after the other: each sees what those before it changed, and
// may remove it (its name marked with "-") and then set it anew.
import type { v1 } from "../../../cri-api/nri/v1/api.js";
import type { FieldName, FieldOwners } from "./field-owners.ts";
import { claimFor, mergeResources, type Claim } from "./merge-resources.ts";

/** Whose answer is being merged. */
interface Author {
  plugin: string;
  claim: Claim;
}

/** The name behind a removal marker; undefined without one. */
export function removedName(name: string): string | undefined {
  return name.startsWith("-") ? name.slice(1) : undefined;
}

interface Entries<T> {
  name: FieldName;
  keyOf: (entry: T) => string;
  /** Two plugins contradict each other also where the later one only removes. */
  removalIsChange?: boolean;
}

const mountEntries: Entries<v1.MountSent> = { name: "mount", keyOf: (mount) => mount.destination ?? "" };
const deviceEntries: Entries<v1.LinuxDeviceSent> = { name: "device", keyOf: (device) => device.path ?? "" };
const envEntries: Entries<v1.KeyValueSent> = { name: "env", keyOf: (variable) => variable.key ?? "" };
const namespaceEntries: Entries<v1.LinuxNamespaceSent> = {
  name: "namespace",
  keyOf: (namespace) => namespace.type ?? "",
  // Without it the container is in the host's: that is as good as another one.
  removalIsChange: true,
};

export class AdjustmentMerge {
  /** The container as the next plugin is to see it. */
  readonly container: v1.ContainerSent;
  /** All adjustments so far. */
  readonly adjustment: v1.ContainerAdjustmentSent = {};
  readonly #owners: FieldOwners;
  readonly #ownArgs: readonly string[] | null;

  constructor(container: v1.ContainerSent, owners: FieldOwners) {
    this.container = { ...container, linux: { ...container.linux } };
    this.#owners = owners;
    this.#ownArgs = container.args ?? null;
  }

  /** @throws CricketError failed-precondition where two plugins set the same */
  add(plugin: string, change: v1.ContainerAdjustment): void {
    const by: Author = { plugin, claim: claimFor(this.#owners, this.#id, plugin) };
    const { adjustment, container } = this;
    this.#addMaps(change, by);
    this.#addLists(change, by);
    if (change.args.length > 0) this.#addArgs(change.args, by);
    if (hasHooks(change.hooks)) {
      this.#owners.share(this.#id, plugin, "hooks");
      adjustment.hooks = joinHooks(adjustment.hooks, change.hooks);
      container.hooks = joinHooks(container.hooks, change.hooks);
    }
    if (change.linux !== undefined && change.linux !== null) this.#addLinux(change.linux, by);
  }

  #addArgs(args: readonly string[], { plugin, claim }: Author): void {
    // An empty first argument: those of an earlier plugin may go.
    const [first, ...rest] = args;
    if (first === "") this.#owners.remove(this.#id, plugin, "args");
    claim("args");
    const given = first === "" ? rest : [...args];
    this.adjustment.args = given;
    this.container.args = given.length === 0 ? [...(this.#ownArgs ?? [])] : given;
  }

  get #id(): string {
    return this.container.id ?? "";
  }

  #addMaps({ annotations, linux }: v1.ContainerAdjustment, by: Author): void {
    const { adjustment, container } = this;
    if (Object.keys(annotations).length > 0) {
      adjustment.annotations = this.#mergeMap(adjustment.annotations, annotations, "annotation", by);
      container.annotations = applyMap(container.annotations, annotations);
    }
    if (linux === undefined || linux === null) return;
    if (Object.keys(linux.sysctl).length > 0) {
      this.#linux.sysctl = this.#mergeMap(this.#linux.sysctl, linux.sysctl, "sysctl", by);
      container.linux!.sysctl = applyMap(container.linux!.sysctl, linux.sysctl);
    }
    if (Object.keys(linux.netDevices).length > 0) {
      this.#linux.netDevices = this.#mergeMap(this.#linux.netDevices, linux.netDevices, "netDevice", by);
      container.linux!.netDevices = applyMap(container.linux!.netDevices, linux.netDevices);
    }
  }

  #addLists(change: v1.ContainerAdjustment, by: Author): void {
    const { adjustment, container } = this;
    const { claim } = by;
    if (change.mounts.length > 0) {
      adjustment.mounts = this.#mergeList(adjustment.mounts, change.mounts, mountEntries, by);
      container.mounts = applyList(container.mounts, change.mounts, mountEntries);
    }
    if (change.env.length > 0) {
      adjustment.env = this.#mergeList(adjustment.env, change.env, envEntries, by);
      container.env = applyEnv(container.env, change.env);
    }
    if (change.rlimits.length > 0) {
      for (const { type } of change.rlimits) claim("rlimit", type);
      adjustment.rlimits = [...(adjustment.rlimits ?? []), ...change.rlimits];
      container.rlimits = [...(container.rlimits ?? []), ...change.rlimits];
    }
    if (change.cdiDevices.length > 0) {
      for (const { name } of change.cdiDevices) claim("cdiDevice", name);
      adjustment.cdiDevices = [...(adjustment.cdiDevices ?? []), ...change.cdiDevices];
      container.cdiDevices = [...(container.cdiDevices ?? []), ...change.cdiDevices];
    }
  }

  #addLinux(change: v1.LinuxContainerAdjustment, by: Author): void {
    const linux = this.container.linux!;
    const { claim } = by;
    if (change.devices.length > 0) {
      this.#linux.devices = this.#mergeList(this.#linux.devices, change.devices, deviceEntries, by);
      linux.devices = applyList(linux.devices, change.devices, deviceEntries);
    }
    if (change.namespaces.length > 0) {
      this.#linux.namespaces = this.#mergeList(
        this.#linux.namespaces,
        change.namespaces,
        namespaceEntries,
        by,
      );
      linux.namespaces = applyList(linux.namespaces, change.namespaces, namespaceEntries);
    }
    if (change.resources !== undefined && change.resources !== null) {
      this.#linux.resources = mergeResources(this.#linux.resources ?? {}, change.resources, claim);
      linux.resources = mergeResources(linux.resources ?? {}, change.resources, () => {});
    }
    if (change.cgroupsPath !== "") {
      claim("cgroupsPath");
      this.#linux.cgroupsPath = linux.cgroupsPath = change.cgroupsPath;
    }
    this.#addSingles(change, claim);
    if (change.rdt !== undefined && change.rdt !== null) this.#addRdt(change.rdt, by);
  }

  #addSingles(change: v1.LinuxContainerAdjustment, claim: Claim): void {
    for (const name of ["oomScoreAdj", "ioPriority", "seccompPolicy", "scheduler", "memoryPolicy"] as const) {
      const value = change[name];
      if (value === undefined || value === null) continue;
      claim(name);
      Object.assign(this.#linux, { [name]: value });
      if (name !== "memoryPolicy") Object.assign(this.container.linux!, { [name]: value });
    }
  }

  #addRdt(change: v1.LinuxRdt, { plugin, claim }: Author): void {
    let rdt: v1.LinuxRdtSent = { ...this.#linux.rdt };
    if (change.remove) {
      for (const name of ["rdtClosId", "rdtSchemata", "rdtEnableMonitoring"] as const)
        this.#owners.seize(this.#id, plugin, name);
      rdt = { remove: true };
    }
    for (const [member, name] of [
      ["closId", "rdtClosId"],
      ["schemata", "rdtSchemata"],
      ["enableMonitoring", "rdtEnableMonitoring"],
    ] as const) {
      const value = change[member];
      if (value === undefined || value === null) continue;
      claim(name);
      rdt = { ...rdt, [member]: value };
    }
    this.#linux.rdt = this.container.linux!.rdt = rdt;
  }

  get #linux(): v1.LinuxContainerAdjustmentSent {
    this.adjustment.linux ??= {};
    return this.adjustment.linux;
  }

  /** Entries that are removed go first, so that the same answer may set them anew. */
  #mergeMap<T>(
    collected: Record<string, T> | null | undefined,
    change: Record<string, T>,
    name: FieldName,
    { plugin, claim }: Author,
  ): Record<string, T> {
    const merged = { ...collected };
    const entries = Object.entries(change);
    for (const [key, value] of entries) {
      const removed = removedName(key);
      if (removed === undefined) continue;
      this.#owners.remove(this.#id, plugin, name, removed);
      delete merged[removed];
      merged[key] = value;
    }
    for (const [key, value] of entries) {
      if (removedName(key) !== undefined) continue;
      claim(name, key);
      merged[key] = value;
    }
    return merged;
  }

  #mergeList<T>(
    collected: readonly T[] | null | undefined,
    change: readonly T[],
    { name, keyOf, removalIsChange = false }: Entries<T>,
    { plugin, claim }: Author,
  ): T[] {
    const removed = new Set(
      change.map((entry) => removedName(keyOf(entry))).filter((key) => key !== undefined),
    );
    for (const key of removed) {
      if (removalIsChange) claim(name, key);
      else this.#owners.remove(this.#id, plugin, name, key);
    }
    const added = change.filter((entry) => removedName(keyOf(entry)) === undefined);
    for (const entry of added) claim(name, keyOf(entry));
    const markers = change.filter((entry) => removedName(keyOf(entry)) !== undefined);
    const kept = (collected ?? []).filter((entry) => !removed.has(keyOf(entry)));
    return [...kept, ...markers, ...added];
  }
}

function applyMap<T>(
  now: Record<string, T> | null | undefined,
  change: Record<string, T>,
): Record<string, T> {
  const result = { ...now };
  for (const key of Object.keys(change)) delete result[removedName(key) ?? key];
  for (const [key, value] of Object.entries(change)) if (removedName(key) === undefined) result[key] = value;
  return result;
}

function applyList<T>(
  now: readonly T[] | null | undefined,
  change: readonly T[],
  { keyOf }: Entries<T>,
): T[] {
  const changed = new Set(change.map((entry) => removedName(keyOf(entry)) ?? keyOf(entry)));
  const added = change.filter((entry) => removedName(keyOf(entry)) === undefined);
  return [...(now ?? []).filter((entry) => !changed.has(keyOf(entry))), ...added];
}

function applyEnv(now: readonly string[] | null | undefined, change: readonly v1.KeyValue[]): string[] {
  const changed = new Set(change.map(({ key }) => removedName(key) ?? key));
  const kept = (now ?? []).filter((line) => !changed.has(line.split("=", 1)[0] ?? ""));
  const added = change.filter(({ key }) => removedName(key) === undefined);
  return [...kept, ...added.map(({ key, value }) => `${key}=${value}`)];
}

const hookKinds = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
] as const;

function hasHooks(hooks: v1.Hooks | null | undefined): hooks is v1.Hooks {
  return hooks !== undefined && hooks !== null && hookKinds.some((kind) => hooks[kind].length > 0);
}

function joinHooks(now: v1.HooksSent | null | undefined, change: v1.Hooks): v1.HooksSent {
  return Object.fromEntries(hookKinds.map((kind) => [kind, [...(now?.[kind] ?? []), ...change[kind]]]));
}

// The systemd driver: containers are transient scopes in slices, delegated, so that everything but their making and
// their end is the same as with plain directories.
import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { failedPrecondition, hasCode, wrapError } from "../../base/errors.ts";
import { readCgroupFile } from "../cgroup/cgroup-file.ts";
import { CgroupManager, type CgroupHold } from "../cgroup/cgroup-manager.ts";
import { checkCgroupPath } from "../cgroup/cgroup-path.ts";
import type { CgroupResources } from "../cgroup/cgroup-resources.ts";
import type { CgroupWrite } from "../cgroup/cgroup-write.ts";
import { resolveDeviceRules, type DeviceRule } from "../cgroup/device-rules.ts";
import type { FieldNames } from "../cgroup/field-names.ts";
import { hierarchyOf, type CgroupLayout } from "../cgroup/layout.ts";
import { blkioToIoWeight } from "../cgroup/plan-block-io.ts";
import { deviceProperties } from "./device-properties.ts";
import type { Placeholder } from "./placeholder.ts";
import type { SystemdClient, UnitProperty } from "./systemd-client.ts";
import { boolean, propertiesOf, text, uint64 } from "./unit-properties.ts";
import { checkSliceName, slicePath, systemdRoot, unitOf } from "./unit-names.ts";

export interface SystemdOptions {
  client: SystemdClient;
  startPlaceholder: () => Promise<Placeholder>;
  layout?: CgroupLayout;
  names?: FieldNames;
  /** Where systemd's tree begins. */
  root?: string;
}

interface Reserved {
  /** What the scope was made with. */
  limits: readonly UnitProperty[];
  /** What its cgroup was given then. */
  resources?: CgroupResources;
  /** For cgroup v1. */
  devices: UnitProperty[];
}

export class SystemdCgroupManager extends CgroupManager {
  override readonly driver = "systemd";
  readonly #client: SystemdClient;
  readonly #startPlaceholder: () => Promise<Placeholder>;
  readonly #root: string;
  /** Scopes that are being made, by path. */
  readonly #reserved = new Map<string, Reserved>();

  constructor({ client, startPlaceholder, layout, names, root }: SystemdOptions) {
    super(layout, names);
    this.#client = client;
    this.#startPlaceholder = startPlaceholder;
    this.#root = root ?? systemdRoot();
  }

  /**
   * `cgroup_parent` as the kubelet gives it: a slice by its name or its whole path, of which the name says all.
   * Throws invalid-argument for anything else.
   */
  override parentPath(parent: string): string {
    return this.#root + slicePath(checkSliceName(parent.slice(parent.lastIndexOf("/") + 1)));
  }

  override podPath(parent: string, id: string): string {
    const slice = unitOf(parent).slice(0, -".slice".length);
    return `${parent}/${slice}-pod${id}.slice`;
  }

  /** Starts the scope of a container or pause; slices come into being with it. */
  override async reserve(
    path: string,
    resources: CgroupResources = {},
    more: readonly UnitProperty[] = [],
  ): Promise<CgroupHold> {
    const checked = checkCgroupPath(path);
    const limits = await this.#limits(checked, resources);
    const placeholder = await this.#startPlaceholder();
    try {
      await this.#startScope(checked, placeholder.pid, [...limits, ...more]);
      this.#assertIsAt(checked, placeholder.pid);
      this.#reserved.set(checked, { limits, devices: [] });
    } catch (error) {
      placeholder[Symbol.dispose]();
      await this.remove(checked).catch(() => {});
      throw wrapError(`scope ${unitOf(checked)}`, error);
    }
    return { release: () => this.#release(checked, placeholder) };
  }

  async #startScope(path: string, pid: number, properties: readonly UnitProperty[]): Promise<void> {
    const unit = unitOf(path);
    const all: UnitProperty[] = [
      ["Description", text(`container ${unit.replace(/\.scope$/, "")}`)],
      ["Slice", text(unitOf(path.slice(0, path.lastIndexOf("/"))))],
      ["PIDs", { signature: "au", value: [pid] }],
      // The cgroup below the scope is ours: subgroups of execs, freezing, what systemd has no property for.
      ["Delegate", boolean(true)],
      // Containers are not to end where all services do, before the kubelet has stopped its pods.
      ["DefaultDependencies", boolean(false)],
      // Else a failed scope stays, and thousands of them slow the machine (runc#3780).
      ["CollectMode", text("inactive-or-failed")],
      ["MemoryAccounting", boolean(true)],
      ["CPUAccounting", boolean(true)],
      ["TasksAccounting", boolean(true)],
      ["IOAccounting", boolean(true)],
      ...properties,
    ];
    try {
      await this.#client.startTransientUnit(unit, all);
    } catch (error) {
      if (!hasCode(error, "already-exists")) throw error;
      // Left behind by a runtime that did not ask for its collection; one with processes in it cannot be reset.
      await this.#client.resetFailedUnit(unit);
      await this.#client.startTransientUnit(unit, all);
    }
  }

  /** A systemd that keeps its tree elsewhere would leave the limits on a cgroup without processes. */
  #assertIsAt(path: string, pid: number): void {
    if (!this.pids(path).includes(pid))
      throw failedPrecondition(`systemd has made it elsewhere than at ${path}`);
  }

  async #release(path: string, placeholder: Placeholder): Promise<void> {
    const reserved = this.#reserved.get(path);
    this.#reserved.delete(path);
    try {
      const properties = reserved === undefined ? [] : await this.#changes(path, reserved);
      if (properties.length > 0) await this.#client.setUnitProperties(unitOf(path), properties);
    } finally {
      placeholder[Symbol.dispose]();
    }
  }

  /** What systemd was not told when the scope was made: device rules, and limits that a plugin has changed since. */
  async #changes(path: string, { limits, resources, devices }: Reserved): Promise<UnitProperty[]> {
    if (resources === undefined) return devices;
    const now = await this.#propertiesOf(this.plan(path, resources), false);
    return [
      ...now.filter((property) => !limits.some((told) => isDeepStrictEqual(told, property))),
      ...devices,
    ];
  }

  override create(path: string, resources?: CgroupResources): void {
    super.create(path, resources);
    const reserved = this.#reserved.get(checkCgroupPath(path));
    if (reserved !== undefined && resources !== undefined) reserved.resources = resources;
  }

  override setDevices(path: string, rules: readonly DeviceRule[]): void {
    super.setDevices(path, rules);
    const reserved = this.#reserved.get(checkCgroupPath(path));
    if (reserved === undefined || hierarchyOf(this.layout, "devices") === undefined) return;
    reserved.devices = deviceProperties(resolveDeviceRules(rules), readFileSync("/proc/devices", "latin1"));
  }

  /** The kernel first, which may refuse; then systemd, whose own writing of it changes nothing any more. */
  override async updateResources(path: string, resources: CgroupResources): Promise<void> {
    const checked = checkCgroupPath(path);
    const properties = await this.#propertiesOf(this.plan(checked, resources), false);
    await super.updateResources(checked, resources);
    if (properties.length === 0 || !isUnit(checked)) return;
    try {
      await this.#client.setUnitProperties(unitOf(checked), properties);
    } catch (error) {
      // A scope that systemd has lost while its container runs (runc#4620): the kernel has the limits.
      if (!hasCode(error, "not-found")) throw error;
    }
  }

  /** Idempotent. Call it when the processes have ended: what is left gets systemd's SIGTERM and its long patience. */
  override async remove(path: string): Promise<void> {
    const checked = checkCgroupPath(path);
    const unit = unitOf(checked);
    this.#reserved.delete(checked);
    if (isUnit(checked)) {
      await this.#client.stopUnit(unit);
      await this.#client.resetFailedUnit(unit);
    }
    await super.remove(checked);
  }

  /** Stops a slice in which nothing is left. */
  override async prune(path: string): Promise<void> {
    const checked = checkCgroupPath(path);
    if (!this.exists(checked) || this.hasProcesses(checked) || this.list(checked).length > 0) return;
    if (isUnit(checked)) await this.#client.stopUnit(unitOf(checked));
    await super.prune(checked);
  }

  // The cgroup is not there yet: what is planned by looking at its files has to wait.
  #limits(path: string, { blockIo, ...resources }: CgroupResources): Promise<UnitProperty[]> {
    const weight = blockIo?.weight ?? 0;
    const io: UnitProperty[] = weight === 0 ? [] : [["IOWeight", uint64(BigInt(blkioToIoWeight(weight)))]];
    const writes = this.planFor(path, resources, () => undefined);
    return this.#propertiesOf(writes, true).then((properties) => [...properties, ...io]);
  }

  async #propertiesOf(writes: readonly CgroupWrite[], isNew: boolean): Promise<UnitProperty[]> {
    if (writes.length === 0) return [];
    return propertiesOf(writes, { version: await this.#client.version(), isNew, read: readCgroupFile });
  }
}

/** False for what the cgroupfs driver has made, before the configuration was changed. */
const isUnit = (path: string): boolean => /\.(?:scope|slice)$/.test(path);

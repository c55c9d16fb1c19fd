// Usage of containers and sandboxes, collected when it is asked for: one pass over a few cgroup files each.
import type { ContainerRecord, ContainerState } from "../container/container-record.ts";
import type { CgroupStats } from "../linux/cgroup/cgroup-stats.ts";
import type { SandboxRecord } from "../sandbox/sandbox-record.ts";
import type { DiskUsage } from "../snapshot/layer-store.ts";
import { CpuRates } from "./cpu-rates.ts";
import { mapInSlices } from "./time-slices.ts";
import { toResourceUsage, type ResourceUsage } from "./resource-usage.ts";

/** A container as far as its usage goes. */
export interface MeasuredContainer {
  readonly record: Pick<ContainerRecord, "id" | "cgroupPath">;
  readonly state: ContainerState;
}

export interface MeasuredSandbox {
  readonly record: Pick<SandboxRecord, "id" | "cgroupPath">;
  readonly isReady: boolean;
}

export interface FilesystemUsage {
  timestampNs: bigint;
  /** A directory on the filesystem in question: the kubelet calls statfs on it. */
  mountpoint: string;
  usedBytes: bigint;
  inodesUsed: bigint;
}

export interface InterfaceUsage {
  name: string;
  rxBytes: bigint;
  rxErrors: bigint;
  txBytes: bigint;
  txErrors: bigint;
}

export interface ContainerUsage<C> {
  container: C;
  /** Absent for a container without processes. */
  usage?: ResourceUsage;
  writableLayer?: FilesystemUsage;
}

export interface SandboxUsage<S, C> {
  sandbox: S;
  usage?: ResourceUsage;
  network?: { timestampNs: bigint; interfaces: readonly InterfaceUsage[] };
  processCount?: bigint;
  containers: readonly ContainerUsage<C>[];
}

export interface StatsParts<S, C> {
  /** The cgroup manager's `stats`. */
  cgroups: { stats(path: string): CgroupStats | undefined };
  /** From memory, undefined while it is not known: nobody may walk a layer because somebody asks. */
  writableLayer(containerId: string): DiskUsage | undefined;
  /** Where writable layers lie. */
  writableLayerMountpoint: string;
  /** By sandbox id the interfaces of ready pods, loopback left out; pods on the host's network are not in it. */
  interfacesOf(sandboxes: readonly S[]): Promise<ReadonlyMap<string, readonly InterfaceUsage[]>>;
  containersOf(sandbox: S): readonly C[];
}

export class NodeStats<S extends MeasuredSandbox, C extends MeasuredContainer> {
  readonly #parts: StatsParts<S, C>;
  readonly #rates: CpuRates;

  constructor(parts: StatsParts<S, C>, rates: CpuRates = new CpuRates()) {
    this.#parts = parts;
    this.#rates = rates;
  }

  ofContainers(containers: readonly C[]): Promise<ContainerUsage<C>[]> {
    return mapInSlices(containers, (container) => this.#ofContainer(container));
  }

  async ofSandboxes(sandboxes: readonly S[]): Promise<SandboxUsage<S, C>[]> {
    const interfaces = await this.#parts.interfacesOf(sandboxes.filter(({ isReady }) => isReady));
    return mapInSlices(sandboxes, (sandbox) => this.#ofSandbox(sandbox, interfaces.get(sandbox.record.id)));
  }

  #ofContainer(container: C): ContainerUsage<C> {
    const result: ContainerUsage<C> = { container };
    const { id, cgroupPath } = container.record;
    const stats = container.state === "exited" ? undefined : this.#parts.cgroups.stats(cgroupPath);
    if (stats !== undefined) result.usage = this.#usage(cgroupPath, stats);
    const layer = this.#parts.writableLayer(id);
    if (layer !== undefined)
      result.writableLayer = {
        timestampNs: wallClockNs(),
        mountpoint: this.#parts.writableLayerMountpoint,
        usedBytes: BigInt(layer.bytes),
        inodesUsed: BigInt(layer.inodes),
      };
    return result;
  }

  async #ofSandbox(
    sandbox: S,
    interfaces: readonly InterfaceUsage[] | undefined,
  ): Promise<SandboxUsage<S, C>> {
    const containers = await this.ofContainers(this.#parts.containersOf(sandbox));
    const result: SandboxUsage<S, C> = { sandbox, containers };
    if (!sandbox.isReady) return result;
    const { cgroupPath } = sandbox.record;
    const stats = this.#parts.cgroups.stats(cgroupPath);
    if (stats !== undefined) result.usage = this.#usage(cgroupPath, stats);
    if (stats?.taskCount !== undefined) result.processCount = stats.taskCount;
    if (interfaces !== undefined) result.network = { timestampNs: wallClockNs(), interfaces };
    return result;
  }

  #usage(path: string, stats: CgroupStats): ResourceUsage {
    const rate = stats.cpu === undefined ? undefined : this.#rates.record(path, stats.cpu.usageNs);
    return toResourceUsage(stats, wallClockNs(), rate);
  }
}

function wallClockNs(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}

// ListPodSandboxMetrics: all metrics of pods and their containers, read when they are asked for.
import { statfs } from "node:fs/promises";
import type { ContainerRecord, ContainerState } from "../container/container-record.ts";
import type { CgroupCounters } from "../linux/cgroup/cgroup-counters.ts";
import type { InterfaceStatistics } from "../linux/netlink-route.ts";
import { countOpenFiles, openFilesLimit } from "../linux/process-resources.ts";
import type { SandboxRecord } from "../sandbox/sandbox-record.ts";
import type { DiskUsage } from "../snapshot/layer-store.ts";
import { lastSeenMetric, processMetrics, specMetrics } from "./metric-descriptors.ts";
import {
  measureCgroup,
  measureDisk,
  measureInterface,
  samplesOf,
  type Filesystem,
  type Measurement,
  type MetricSample,
} from "./metric-samples.ts";

/** The part of a container's record that metrics are made of. */
export interface MetricContainer {
  readonly record: Pick<
    ContainerRecord,
    "id" | "cgroupPath" | "init" | "startedAtNs" | "resources" | "sandboxMetadata"
  > & {
    readonly config: { readonly metadata: { readonly name: string } };
    readonly image: { readonly name: string };
  };
  readonly state: ContainerState;
}

export interface MetricSandbox {
  readonly record: Pick<SandboxRecord, "id" | "cgroupPath"> & {
    readonly config: { readonly metadata: { readonly name: string; readonly namespace: string } };
  };
}

export interface PodMetrics {
  sandboxId: string;
  samples: readonly MetricSample[];
  containers: readonly { containerId: string; samples: readonly MetricSample[] }[];
}

export interface PodMetricsParts<S, C> {
  cgroups: { counters(path: string): CgroupCounters; pids(path: string): readonly number[] };
  writableLayer(containerId: string): DiskUsage | undefined;
  /** The directory of the writable layers. */
  writableLayerMountpoint: string;
  /** The interfaces of the pod, loopback left out; undefined for a pod on the host's network. */
  interfacesOf(sandbox: S): Promise<readonly ({ name: string } & InterfaceStatistics)[] | undefined>;
  containersOf(sandbox: S): readonly C[];
}

/** Ended containers have no metrics: nothing of them runs. */
export async function collectPodMetrics<S extends MetricSandbox, C extends MetricContainer>(
  sandboxes: readonly S[],
  parts: PodMetricsParts<S, C>,
): Promise<PodMetrics[]> {
  const filesystem = await filesystemOf(parts.writableLayerMountpoint);
  return Promise.all(
    sandboxes.map(async (sandbox) => {
      const live = parts.containersOf(sandbox).filter(({ state }) => state === "running");
      const [samples, containers] = await Promise.all([
        samplesOfSandbox(sandbox, parts),
        Promise.all(live.map((container) => samplesOfContainer(container, filesystem, parts))),
      ]);
      return { sandboxId: sandbox.record.id, samples, containers };
    }),
  );
}

async function filesystemOf(directory: string): Promise<Filesystem> {
  const { blocks, bsize, files, ffree } = await statfs(directory, { bigint: true });
  return { sizeBytes: blocks * bsize, inodes: files, freeInodes: ffree };
}

async function samplesOfSandbox<S extends MetricSandbox, C>(
  sandbox: S,
  parts: PodMetricsParts<S, C>,
): Promise<MetricSample[]> {
  const { id, cgroupPath, config } = sandbox.record;
  const interfaces = (await parts.interfacesOf(sandbox)) ?? [];
  const measurements: Measurement[] = [
    [lastSeenMetric, nowSeconds()],
    ...measureCgroup(parts.cgroups.counters(cgroupPath)),
    [processMetrics.processes, BigInt(parts.cgroups.pids(cgroupPath).length)],
    ...interfaces.flatMap(({ name, ...counters }) => measureInterface(name, counters)),
  ];
  // "POD" is how cAdvisor labels what belongs to no single container.
  return samplesOf(measurements, [id, "", config.metadata.namespace, config.metadata.name, "POD"]);
}

async function samplesOfContainer<S, C extends MetricContainer>(
  container: C,
  filesystem: Filesystem,
  parts: PodMetricsParts<S, C>,
): Promise<{ containerId: string; samples: MetricSample[] }> {
  const { record } = container;
  const { id, cgroupPath, sandboxMetadata } = record;
  const layer = parts.writableLayer(id);
  const measurements: Measurement[] = [
    [lastSeenMetric, nowSeconds()],
    ...measureCgroup(parts.cgroups.counters(cgroupPath)),
    ...(await measureProcesses(parts.cgroups.pids(cgroupPath), record.init?.pid)),
    ...measureSpec(record),
    ...measureDisk(filesystem, layer === undefined ? undefined : BigInt(layer.bytes)),
  ];
  const { namespace, name } = sandboxMetadata;
  const labels = [id, record.image.name, namespace, name, record.config.metadata.name];
  return { containerId: id, samples: samplesOf(measurements, labels) };
}

async function measureProcesses(pids: readonly number[], init: number | undefined): Promise<Measurement[]> {
  const { fileDescriptors, sockets } = await countOpenFiles(pids);
  const limit = init === undefined ? undefined : await openFilesLimit(init);
  return [
    [processMetrics.fileDescriptors, BigInt(fileDescriptors)],
    [processMetrics.processes, BigInt(pids.length)],
    [processMetrics.sockets, BigInt(sockets)],
    [processMetrics.ulimitsSoft, limit, "max_open_files"],
  ];
}

function measureSpec({ resources, startedAtNs }: MetricContainer["record"]): Measurement[] {
  const { cpuQuota, unified } = resources;
  const reserved = unified["memory.min"] ?? "0";
  return [
    [specMetrics.cpuPeriod, resources.cpuPeriod],
    [specMetrics.cpuShares, resources.cpuShares],
    [specMetrics.cpuQuota, cpuQuota > 0n ? cpuQuota : undefined],
    [specMetrics.memoryLimit, resources.memoryLimitBytes],
    [specMetrics.memoryReservation, /^\d+$/.test(reserved) ? BigInt(reserved) : undefined],
    // -1 is "no limit" as 0 is.
    [specMetrics.memorySwapLimit, resources.memorySwapLimitBytes < 0n ? 0n : resources.memorySwapLimitBytes],
    [specMetrics.startTime, startedAtNs === undefined ? undefined : startedAtNs / 1_000_000_000n],
  ];
}

function nowSeconds(): bigint {
  return BigInt(Math.floor(Date.now() / 1000));
}

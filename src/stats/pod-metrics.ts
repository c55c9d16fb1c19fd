// ListPodSandboxMetrics: all metrics of pods and their containers, read when they are asked for.
import { statfs } from "node:fs/promises";
import type { MetricFamily } from "../config/config.ts";
import type { ContainerRecord, ContainerState } from "../container/container-record.ts";
import type { CgroupCounters, CounterGroup } from "../linux/cgroup/cgroup-counters.ts";
import type { InterfaceStatistics } from "../linux/netlink-route.ts";
import { countOpenFiles, openFilesLimit } from "../linux/process-resources.ts";
import { pauseCgroup, type SandboxRecord } from "../sandbox/sandbox-record.ts";
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
import { mapInSlices } from "./time-slices.ts";

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
  cgroups: {
    counters(path: string, groups: ReadonlySet<CounterGroup>): CgroupCounters;
    pids(path: string): readonly number[];
  };
  writableLayer(containerId: string): DiskUsage | undefined;
  /** The directory of the writable layers. */
  writableLayerMountpoint: string;
  /** By sandbox id the interfaces of pods, loopback left out; pods on the host's network are not in it. */
  interfacesOf(sandboxes: readonly S[]): Promise<ReadonlyMap<string, readonly NamedInterface[]>>;
  containersOf(sandbox: S): readonly C[];
}

type NamedInterface = { name: string } & InterfaceStatistics;

/** What the families ask of a cgroup; the others are not made from cgroups. */
const groupOfFamily: Partial<Record<MetricFamily, CounterGroup>> = {
  cpu: "cpu",
  memory: "memory",
  hugetlb: "hugetlb",
  diskIO: "devices",
  process: "tasks",
  oom: "oom",
  pressure: "pressure",
};

/** What all pods of one call have in common. */
interface Pass<S, C> {
  parts: PodMetricsParts<S, C>;
  families: ReadonlySet<MetricFamily>;
  groups: ReadonlySet<CounterGroup>;
  filesystem: Filesystem | undefined;
  interfaces: ReadonlyMap<string, readonly NamedInterface[]>;
}

/** Hands the metrics of one pod after the other to `use`. Ended containers have none: nothing of them runs. */
export async function collectPodMetrics<S extends MetricSandbox, C extends MetricContainer, T>(
  sandboxes: readonly S[],
  parts: PodMetricsParts<S, C>,
  families: ReadonlySet<MetricFamily>,
  use: (pod: PodMetrics) => T,
): Promise<T[]> {
  const groups = [...families].flatMap((family) => groupOfFamily[family] ?? []);
  const pass: Pass<S, C> = {
    parts,
    families,
    groups: new Set(groups),
    filesystem: families.has("disk") ? await filesystemOf(parts.writableLayerMountpoint) : undefined,
    interfaces: families.has("network") ? await parts.interfacesOf(sandboxes) : new Map(),
  };
  return mapInSlices(sandboxes, async (sandbox) => use(await metricsOfPod(sandbox, pass)));
}

async function filesystemOf(directory: string): Promise<Filesystem> {
  const { blocks, bsize, files, ffree } = await statfs(directory, { bigint: true });
  return { sizeBytes: blocks * bsize, inodes: files, freeInodes: ffree };
}

async function metricsOfPod<S extends MetricSandbox, C extends MetricContainer>(
  sandbox: S,
  pass: Pass<S, C>,
): Promise<PodMetrics> {
  const { cgroups } = pass.parts;
  const wantsProcesses = pass.families.has("process");
  const live = pass.parts.containersOf(sandbox).filter(({ state }) => state === "running");
  const containers = await mapInSlices(live, async (container) => {
    const pids = wantsProcesses ? cgroups.pids(container.record.cgroupPath) : [];
    const samples = await samplesOfContainer(container, pids, pass);
    return { containerId: container.record.id, samples, processes: pids.length };
  });
  // The pod's own cgroup has none: those of the containers have been counted, and pause has one beside theirs.
  const own = wantsProcesses ? cgroups.pids(pauseCgroup(sandbox.record)).length : 0;
  const processes = containers.reduce((sum, container) => sum + container.processes, own);
  const samples = samplesOfSandbox(sandbox, wantsProcesses ? BigInt(processes) : undefined, pass);
  return {
    sandboxId: sandbox.record.id,
    samples,
    containers: containers.map(({ containerId, samples: of }) => ({ containerId, samples: of })),
  };
}

function samplesOfSandbox<S extends MetricSandbox, C>(
  sandbox: S,
  processes: bigint | undefined,
  { parts, groups, interfaces }: Pass<S, C>,
): MetricSample[] {
  const { id, cgroupPath, config } = sandbox.record;
  const measurements: Measurement[] = [
    [lastSeenMetric, nowSeconds()],
    ...measureCgroup(parts.cgroups.counters(cgroupPath, groups)),
    [processMetrics.processes, processes],
    ...(interfaces.get(id) ?? []).flatMap(({ name, ...counters }) => measureInterface(name, counters)),
  ];
  // "POD" is how cAdvisor labels what belongs to no single container.
  return samplesOf(measurements, [id, "", config.metadata.namespace, config.metadata.name, "POD"]);
}

async function samplesOfContainer<S, C extends MetricContainer>(
  container: C,
  pids: readonly number[],
  { parts, families, groups, filesystem }: Pass<S, C>,
): Promise<MetricSample[]> {
  const { record } = container;
  const { id, cgroupPath, sandboxMetadata } = record;
  const layer = filesystem === undefined ? undefined : parts.writableLayer(id);
  const measurements: Measurement[] = [
    [lastSeenMetric, nowSeconds()],
    ...measureCgroup(parts.cgroups.counters(cgroupPath, groups)),
    ...(families.has("process") ? await measureProcesses(pids, record.init?.pid) : []),
    ...(families.has("spec") ? measureSpec(record) : []),
    ...(filesystem === undefined
      ? []
      : measureDisk(filesystem, layer === undefined ? undefined : BigInt(layer.bytes))),
  ];
  const { namespace, name } = sandboxMetadata;
  return samplesOf(measurements, [id, record.image.name, namespace, name, record.config.metadata.name]);
}

async function measureProcesses(pids: readonly number[], init: number | undefined): Promise<Measurement[]> {
  const { fileDescriptors, sockets } = await countOpenFiles(pids);
  return [
    [processMetrics.fileDescriptors, BigInt(fileDescriptors)],
    [processMetrics.processes, BigInt(pids.length)],
    [processMetrics.sockets, BigInt(sockets)],
    [processMetrics.ulimitsSoft, init === undefined ? undefined : openFilesLimit(init), "max_open_files"],
  ];
}

function measureSpec({ resources, startedAtNs }: MetricContainer["record"]): Measurement[] {
  const { cpuQuota, unified } = resources;
  const reserved = unified["memory.min"] ?? "0";
  return [
    [specMetrics.cpuPeriod, resources.cpuPeriod],
    [specMetrics.cpuShares, resources.cpuShares],
    [specMetrics.cpuQuota, cpuQuota > 0n ? cpuQuota : undefined],
    // -1 is "no limit" as 0 is.
    [specMetrics.memoryLimit, atLeastZero(resources.memoryLimitBytes)],
    [specMetrics.memoryReservation, /^\d+$/.test(reserved) ? BigInt(reserved) : undefined],
    [specMetrics.memorySwapLimit, atLeastZero(resources.memorySwapLimitBytes)],
    [specMetrics.startTime, startedAtNs === undefined ? undefined : startedAtNs / 1_000_000_000n],
  ];
}

const atLeastZero = (value: bigint): bigint => (value < 0n ? 0n : value);

function nowSeconds(): bigint {
  return BigInt(Math.floor(Date.now() / 1000));
}

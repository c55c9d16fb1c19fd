// Statistics wired to the parts they are read from.
import type { Paths } from "./config/paths.ts";
import type { Container, ContainerStore } from "./container/container-store.ts";
import type { StatsUseCases } from "./cri/services.ts";
import type { CgroupManager } from "./linux/cgroup/cgroup-manager.ts";
import type { SelectedNetwork } from "./network/select-network.ts";
import type { Sandbox, SandboxStore } from "./sandbox/sandbox-store.ts";
import type { LayerUsage } from "./snapshot/layer-usage.ts";
import { metricDescriptors } from "./stats/metric-descriptors.ts";
import { NodeStats } from "./stats/node-stats.ts";
import { collectPodMetrics } from "./stats/pod-metrics.ts";

export interface NodeStatsParts {
  cgroups: CgroupManager;
  sandboxes: SandboxStore;
  containers: ContainerStore;
  network: SelectedNetwork;
  layerUsage: LayerUsage;
  paths: Paths;
}

export function nodeStats(parts: NodeStatsParts): StatsUseCases {
  const sources = {
    cgroups: parts.cgroups,
    writableLayer: (id: string) => parts.layerUsage.usageOf(id),
    writableLayerMountpoint: parts.paths.containerLayersRoot,
    interfacesOf: async (sandbox: Sandbox) => {
      if (sandbox.usesHostNetwork) return undefined;
      const counters = await parts.network.statisticsOf(sandbox.id);
      return counters === undefined ? [] : [{ name: "eth0", ...counters }];
    },
    containersOf: (sandbox: Sandbox) =>
      parts.containers.ofSandbox(sandbox.id).filter(({ record }) => record.committed),
  };
  const stats = new NodeStats<Sandbox, Container>(sources);
  return {
    ofContainers: (containers) =>
      stats.ofContainers(containers.map(({ record }) => parts.containers.get(record.id))),
    ofSandboxes: (sandboxes) =>
      stats.ofSandboxes(sandboxes.map(({ record }) => parts.sandboxes.get(record.id))),
    metricDescriptors: () => metricDescriptors,
    metricsOf: (sandboxes) =>
      collectPodMetrics(
        sandboxes.map(({ record }) => parts.sandboxes.get(record.id)),
        sources,
      ),
  };
}

// Statistics wired to the parts they are read from.
import type { Paths } from "./config/paths.ts";
import type { Container, ContainerStore } from "./container/container-store.ts";
import type { StatsUseCases } from "./cri/services.ts";
import type { CgroupManager } from "./linux/cgroup/cgroup-manager.ts";
import type { SelectedNetwork } from "./network/select-network.ts";
import type { Sandbox, SandboxStore } from "./sandbox/sandbox-store.ts";
import type { LayerUsage } from "./snapshot/layer-usage.ts";
import type { StatsConfig } from "./config/config.ts";
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

export function nodeStats(parts: NodeStatsParts, config: StatsConfig): StatsUseCases {
  const sources = {
    cgroups: parts.cgroups,
    writableLayer: (id: string) => parts.layerUsage.usageOf(id),
    writableLayerMountpoint: parts.paths.containerLayersRoot,
    interfacesOf: async (sandboxes: readonly Sandbox[]) => {
      const ids = sandboxes.filter((sandbox) => !sandbox.usesHostNetwork).map(({ id }) => id);
      const counters = await parts.network.statistics(ids);
      return new Map(
        ids.map((id) => {
          const one = counters.get(id);
          return [id, one === undefined ? [] : [{ name: "eth0", ...one }]];
        }),
      );
    },
    containersOf: (sandbox: Sandbox) =>
      parts.containers.ofSandbox(sandbox.id).filter(({ record }) => record.committed),
  };
  const families = new Set(config.includedPodMetrics);
  const descriptors = metricDescriptors(families);
  const stats = new NodeStats<Sandbox, Container>(sources);
  return {
    ofContainers: (containers) =>
      stats.ofContainers(containers.map(({ record }) => parts.containers.get(record.id))),
    ofSandboxes: (sandboxes) =>
      stats.ofSandboxes(sandboxes.map(({ record }) => parts.sandboxes.get(record.id))),
    metricDescriptors: () => descriptors,
    metricsOf: (sandboxes, use) =>
      collectPodMetrics(
        sandboxes.map(({ record }) => parts.sandboxes.get(record.id)),
        sources,
        families,
        use,
      ),
  };
}

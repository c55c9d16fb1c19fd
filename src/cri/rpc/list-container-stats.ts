import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { filterContainers } from "../convert/filter.ts";
import { containerStatsToWire } from "../convert/stats.ts";
import type { ContainerUseCases, StatsUseCases } from "../services.ts";

/** Of running containers only: an ended one uses nothing, and the kubelet would count its last values again. */
export async function listContainerStats(
  parts: { containers: ContainerUseCases; stats: StatsUseCases },
  request: v1.ListContainerStatsRequest,
): Promise<v1.ListContainerStatsResponseSent> {
  const running = parts.containers.list().filter((container) => container.state === "running");
  const usages = await parts.stats.ofContainers(filterContainers(running, request.filter, "filter"));
  return { stats: usages.map(containerStatsToWire) };
}

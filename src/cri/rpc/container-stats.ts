import { notFound } from "../../base/errors.ts";
import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { nonEmpty } from "../convert/field.ts";
import { containerStatsToWire } from "../convert/stats.ts";
import type { ContainerUseCases, StatsUseCases } from "../services.ts";

export async function containerStats(
  parts: { containers: ContainerUseCases; stats: StatsUseCases },
  request: v1.ContainerStatsRequest,
): Promise<v1.ContainerStatsResponseSent> {
  const container = parts.containers.get(nonEmpty(request.containerId, "container_id"));
  const [usage] = await parts.stats.ofContainers([container]);
  if (usage === undefined) throw notFound(`container ${container.record.id} has no statistics`);
  return { stats: containerStatsToWire(usage) };
}

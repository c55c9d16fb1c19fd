import { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { EncodedMessage } from "../../../cri-api/services.ts";
import { inChunks } from "../encoded-list.ts";
import type { ContainerUseCases, StatsUseCases } from "../services.ts";
import { listContainerStats } from "./list-container-stats.ts";

export async function streamContainerStats(
  parts: { containers: ContainerUseCases; stats: StatsUseCases },
  request: v1.StreamContainerStatsRequest,
): Promise<Iterable<EncodedMessage>> {
  const { stats } = await listContainerStats(parts, request);
  return inChunks(stats ?? [], (one) => [v1.ContainerStats.encode(one).finish()]);
}

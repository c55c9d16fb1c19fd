import { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { EncodedMessage } from "../../../cri-api/services.ts";
import { inChunks } from "../encoded-list.ts";
import type { SandboxUseCases, StatsUseCases } from "../services.ts";
import { listPodSandboxStats } from "./list-pod-sandbox-stats.ts";

export async function streamPodSandboxStats(
  parts: { sandboxes: SandboxUseCases; stats: StatsUseCases },
  request: v1.StreamPodSandboxStatsRequest,
): Promise<Iterable<EncodedMessage>> {
  const { stats } = await listPodSandboxStats(parts, request);
  return inChunks(stats ?? [], (one) => [v1.PodSandboxStats.encode(one).finish()]);
}

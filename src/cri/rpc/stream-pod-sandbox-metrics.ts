import type { EncodedMessage } from "../../../cri-api/services.ts";
import { inChunks } from "../encoded-list.ts";
import type { SandboxUseCases, StatsUseCases } from "../services.ts";
import { encodePodMetrics } from "./list-pod-sandbox-metrics.ts";

export async function streamPodSandboxMetrics(parts: {
  sandboxes: SandboxUseCases;
  stats: StatsUseCases;
}): Promise<Iterable<EncodedMessage>> {
  return inChunks(await encodePodMetrics(parts), (one) => [one]);
}

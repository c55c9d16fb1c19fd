import { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { EncodedMessage } from "../../../cri-api/services.ts";
import { inChunks } from "../encoded-list.ts";
import type { SandboxUseCases, StatsUseCases } from "../services.ts";
import { listPodSandboxMetrics } from "./list-pod-sandbox-metrics.ts";

export async function streamPodSandboxMetrics(parts: {
  sandboxes: SandboxUseCases;
  stats: StatsUseCases;
}): Promise<Iterable<EncodedMessage>> {
  const { podMetrics } = await listPodSandboxMetrics(parts);
  return inChunks(podMetrics ?? [], (one) => [v1.PodSandboxMetrics.encode(one).finish()]);
}

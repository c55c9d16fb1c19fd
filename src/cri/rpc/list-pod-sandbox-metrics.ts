import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { podMetricsToWire } from "../convert/metrics.ts";
import type { SandboxUseCases, StatsUseCases } from "../services.ts";

/** Of ready sandboxes only. */
export async function listPodSandboxMetrics(parts: {
  sandboxes: SandboxUseCases;
  stats: StatsUseCases;
}): Promise<v1.ListPodSandboxMetricsResponseSent> {
  const ready = parts.sandboxes.list().filter((sandbox) => sandbox.isReady);
  const metrics = await parts.stats.metricsOf(ready);
  return { podMetrics: metrics.map(podMetricsToWire) };
}

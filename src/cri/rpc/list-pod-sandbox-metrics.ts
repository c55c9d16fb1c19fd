import { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { EncodedMessage } from "../../../cri-api/services.ts";
import { podMetricsToWire } from "../convert/metrics.ts";
import { asOneMessage } from "../encoded-list.ts";
import type { SandboxUseCases, StatsUseCases } from "../services.ts";

/** Of ready sandboxes only. */
export async function listPodSandboxMetrics(parts: {
  sandboxes: SandboxUseCases;
  stats: StatsUseCases;
}): Promise<EncodedMessage> {
  return asOneMessage(await encodePodMetrics(parts));
}

/** The items of the answer. */
export function encodePodMetrics(parts: {
  sandboxes: SandboxUseCases;
  stats: StatsUseCases;
}): Promise<readonly Uint8Array[]> {
  const ready = parts.sandboxes.list().filter((sandbox) => sandbox.isReady);
  return parts.stats.metricsOf(ready, (pod) => v1.PodSandboxMetrics.encode(podMetricsToWire(pod)).finish());
}

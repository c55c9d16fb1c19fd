// Metrics of pods and containers. Their timestamp is 0: they are read when they are asked for, not from a cache.
import { toInt64 } from "../../../cri-api/int64.ts";
import { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { MetricSample, PodMetrics } from "../services.ts";

const types: Record<MetricSample["type"], number> = {
  counter: v1.MetricType.COUNTER,
  gauge: v1.MetricType.GAUGE,
};

function sampleToWire({ name, type, labelValues, value }: MetricSample): v1.MetricSent {
  return { name, metricType: types[type], labelValues, value: { value: toInt64(value) } };
}

export function podMetricsToWire(pod: PodMetrics): v1.PodSandboxMetricsSent {
  return {
    podSandboxId: pod.sandboxId,
    metrics: pod.samples.map(sampleToWire),
    containerMetrics: pod.containers.map(({ containerId, samples }) => ({
      containerId,
      metrics: samples.map(sampleToWire),
    })),
  };
}

import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { StatsUseCases } from "../services.ts";

export function listMetricDescriptors(stats: StatsUseCases): v1.ListMetricDescriptorsResponseSent {
  return {
    descriptors: stats.metricDescriptors().map(({ name, help, labelKeys }) => ({ name, help, labelKeys })),
  };
}

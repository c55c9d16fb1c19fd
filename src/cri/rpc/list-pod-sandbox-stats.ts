import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { filterSandboxStats } from "../convert/filter.ts";
import { sandboxStatsToWire } from "../convert/stats.ts";
import type { SandboxUseCases, StatsUseCases } from "../services.ts";

/** Of ready sandboxes only. */
export async function listPodSandboxStats(
  parts: { sandboxes: SandboxUseCases; stats: StatsUseCases },
  request: v1.ListPodSandboxStatsRequest,
): Promise<v1.ListPodSandboxStatsResponseSent> {
  const ready = parts.sandboxes.list().filter((sandbox) => sandbox.isReady);
  const usages = await parts.stats.ofSandboxes(filterSandboxStats(ready, request.filter));
  return { stats: usages.map(sandboxStatsToWire) };
}

import { notFound } from "../../base/errors.ts";
import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { nonEmpty } from "../convert/field.ts";
import { sandboxStatsToWire } from "../convert/stats.ts";
import type { SandboxUseCases, StatsUseCases } from "../services.ts";

export async function podSandboxStats(
  parts: { sandboxes: SandboxUseCases; stats: StatsUseCases },
  request: v1.PodSandboxStatsRequest,
): Promise<v1.PodSandboxStatsResponseSent> {
  const sandbox = parts.sandboxes.get(nonEmpty(request.podSandboxId, "pod_sandbox_id"));
  const [usage] = await parts.stats.ofSandboxes([sandbox]);
  if (usage === undefined) throw notFound(`sandbox ${sandbox.record.id} has no statistics`);
  return { stats: sandboxStatsToWire(usage) };
}

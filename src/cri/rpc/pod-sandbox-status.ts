import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { nonEmpty } from "../convert/field.ts";
import { sandboxStatusToWire } from "../convert/sandbox-status.ts";
import { verboseInfo } from "../convert/verbose-info.ts";
import type { SandboxUseCases } from "../services.ts";

export async function podSandboxStatus(
  sandboxes: SandboxUseCases,
  request: v1.PodSandboxStatusRequest,
): Promise<v1.PodSandboxStatusResponseSent> {
  const sandbox = sandboxes.get(nonEmpty(request.podSandboxId, "pod_sandbox_id"));
  return {
    status: sandboxStatusToWire(sandbox),
    info: request.verbose ? verboseInfo("info", await sandboxes.describe(sandbox.record.id)) : {},
  };
}

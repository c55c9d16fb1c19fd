import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { nonEmpty } from "../convert/field.ts";
import type { SandboxUseCases } from "../services.ts";

export async function stopPodSandbox(
  sandboxes: SandboxUseCases,
  request: v1.StopPodSandboxRequest,
): Promise<v1.StopPodSandboxResponseSent> {
  await sandboxes.stop(nonEmpty(request.podSandboxId, "pod_sandbox_id"));
  return {};
}

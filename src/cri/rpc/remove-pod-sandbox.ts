import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { nonEmpty } from "../convert/field.ts";
import type { SandboxUseCases } from "../services.ts";

export async function removePodSandbox(
  sandboxes: SandboxUseCases,
  request: v1.RemovePodSandboxRequest,
): Promise<v1.RemovePodSandboxResponseSent> {
  await sandboxes.remove(nonEmpty(request.podSandboxId, "pod_sandbox_id"));
  return {};
}

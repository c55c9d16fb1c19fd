import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { nonEmpty } from "../convert/field.ts";
import { resourcesFromWire } from "../convert/resources.ts";
import type { SandboxUseCases } from "../services.ts";

export async function updatePodSandboxResources(
  sandboxes: SandboxUseCases,
  request: v1.UpdatePodSandboxResourcesRequest,
): Promise<v1.UpdatePodSandboxResourcesResponseSent> {
  const id = nonEmpty(request.podSandboxId, "pod_sandbox_id");
  const { resources, overhead } = request;
  await sandboxes.updateResources(id, {
    ...(resources ? { resources: resourcesFromWire(resources, "resources") } : {}),
    ...(overhead ? { overhead: resourcesFromWire(overhead, "overhead") } : {}),
  });
  return {};
}

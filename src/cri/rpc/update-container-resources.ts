import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { nonEmpty } from "../convert/field.ts";
import { resourcesFromWire } from "../convert/resources.ts";
import type { ContainerUseCases } from "../services.ts";

export async function updateContainerResources(
  containers: ContainerUseCases,
  request: v1.UpdateContainerResourcesRequest,
): Promise<v1.UpdateContainerResourcesResponseSent> {
  const id = nonEmpty(request.containerId, "container_id");
  await containers.updateResources(id, resourcesFromWire(request.linux, "linux"), { ...request.annotations });
  return {};
}

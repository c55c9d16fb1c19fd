import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { nonEmpty } from "../convert/field.ts";
import type { ContainerUseCases } from "../services.ts";

export async function removeContainer(
  containers: ContainerUseCases,
  request: v1.RemoveContainerRequest,
): Promise<v1.RemoveContainerResponseSent> {
  await containers.remove(nonEmpty(request.containerId, "container_id"));
  return {};
}

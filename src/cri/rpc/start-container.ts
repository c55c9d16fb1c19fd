import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { nonEmpty } from "../convert/field.ts";
import type { ContainerUseCases } from "../services.ts";

export async function startContainer(
  containers: ContainerUseCases,
  request: v1.StartContainerRequest,
): Promise<v1.StartContainerResponseSent> {
  await containers.start(nonEmpty(request.containerId, "container_id"));
  return {};
}

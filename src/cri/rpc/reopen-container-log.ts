import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { nonEmpty } from "../convert/field.ts";
import type { ContainerUseCases } from "../services.ts";

export async function reopenContainerLog(
  containers: ContainerUseCases,
  request: v1.ReopenContainerLogRequest,
): Promise<v1.ReopenContainerLogResponseSent> {
  await containers.reopenLog(nonEmpty(request.containerId, "container_id"));
  return {};
}

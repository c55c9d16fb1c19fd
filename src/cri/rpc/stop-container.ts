import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { nonEmpty } from "../convert/field.ts";
import { timeoutMsFromWire } from "../convert/timeout.ts";
import type { ContainerUseCases } from "../services.ts";

export async function stopContainer(
  containers: ContainerUseCases,
  request: v1.StopContainerRequest,
): Promise<v1.StopContainerResponseSent> {
  const id = nonEmpty(request.containerId, "container_id");
  await containers.stop(id, timeoutMsFromWire(request.timeout, "timeout"));
  return {};
}

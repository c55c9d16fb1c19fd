import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { absolutePath, nonEmpty } from "../convert/field.ts";
import { timeoutMsFromWire } from "../convert/timeout.ts";
import type { ContainerUseCases } from "../services.ts";

export async function checkpointContainer(
  containers: ContainerUseCases,
  request: v1.CheckpointContainerRequest,
): Promise<v1.CheckpointContainerResponseSent> {
  // Before the other fields: a client that only asks whether the container is there gets its answer.
  const { record } = containers.get(nonEmpty(request.containerId, "container_id"));
  await containers.checkpoint({
    containerId: record.id,
    location: absolutePath(request.location, "location"),
    timeoutMs: timeoutMsFromWire(request.timeout, "timeout"),
  });
  return {};
}

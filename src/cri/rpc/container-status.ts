import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { containerStatusToWire } from "../convert/container-status.ts";
import { nonEmpty } from "../convert/field.ts";
import { verboseInfo } from "../convert/verbose-info.ts";
import type { ContainerUseCases } from "../services.ts";

export async function containerStatus(
  containers: ContainerUseCases,
  request: v1.ContainerStatusRequest,
): Promise<v1.ContainerStatusResponseSent> {
  const container = containers.get(nonEmpty(request.containerId, "container_id"));
  const { id } = container.record;
  return {
    status: containerStatusToWire(container, containers.resources(id)),
    info: request.verbose ? verboseInfo("info", await containers.describe(id)) : {},
  };
}

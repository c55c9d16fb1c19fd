import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { containerToWire } from "../convert/container-status.ts";
import { filterContainers } from "../convert/filter.ts";
import type { ContainerUseCases } from "../services.ts";

export function listContainers(
  containers: ContainerUseCases,
  request: v1.ListContainersRequest,
): v1.ListContainersResponseSent {
  return { containers: filterContainers(containers.list(), request.filter, "filter").map(containerToWire) };
}

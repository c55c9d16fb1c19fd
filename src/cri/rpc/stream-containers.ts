import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { EncodedMessage } from "../../../cri-api/services.ts";
import { filterContainers } from "../convert/filter.ts";
import type { EncodedList } from "../encoded-list.ts";
import type { ContainerUseCases, ContainerView } from "../services.ts";

export function streamContainers(
  containers: ContainerUseCases,
  list: EncodedList<ContainerView>,
  request: v1.StreamContainersRequest,
): Iterable<EncodedMessage> {
  return list.encodeInChunks(filterContainers(containers.list(), request.filter, "filter"));
}

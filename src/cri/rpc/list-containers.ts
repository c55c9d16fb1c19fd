import { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { EncodedMessage } from "../../../cri-api/services.ts";
import { containerStateToWire, containerToWire } from "../convert/container-status.ts";
import { filterContainers } from "../convert/filter.ts";
import { EncodedList } from "../encoded-list.ts";
import type { ContainerUseCases, ContainerView } from "../services.ts";

/** Items of ListContainersResponse, ready to be sent. */
export function containerList(): EncodedList<ContainerView> {
  const encode = (container: v1.ContainerSent): Uint8Array => v1.Container.encode(container).finish();
  return new EncodedList({
    source: ({ record }) => record,
    encodeFixed: (container) => encode(containerToWire(container)),
    encodeChanging: ({ state }) => encode({ state: containerStateToWire(state) }),
  });
}

export function listContainers(
  containers: ContainerUseCases,
  list: EncodedList<ContainerView>,
  request: v1.ListContainersRequest,
): EncodedMessage {
  return list.encode(filterContainers(containers.list(), request.filter, "filter"));
}

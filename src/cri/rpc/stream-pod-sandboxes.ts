import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { EncodedMessage } from "../../../cri-api/services.ts";
import { filterSandboxes } from "../convert/filter.ts";
import type { EncodedList } from "../encoded-list.ts";
import type { SandboxUseCases, SandboxView } from "../services.ts";

export function streamPodSandboxes(
  sandboxes: SandboxUseCases,
  list: EncodedList<SandboxView>,
  request: v1.StreamPodSandboxesRequest,
): Iterable<EncodedMessage> {
  return list.encodeInChunks(filterSandboxes(sandboxes.list(), request.filter, "filter"));
}

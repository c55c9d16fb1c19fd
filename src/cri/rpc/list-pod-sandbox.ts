import { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { EncodedMessage } from "../../../cri-api/services.ts";
import { filterSandboxes } from "../convert/filter.ts";
import { sandboxStateToWire, sandboxToWire } from "../convert/sandbox-status.ts";
import { EncodedList } from "../encoded-list.ts";
import type { SandboxUseCases, SandboxView } from "../services.ts";

/** Items of ListPodSandboxResponse, ready to be sent. */
export function sandboxList(): EncodedList<SandboxView> {
  const encode = (sandbox: v1.PodSandboxSent): Uint8Array => v1.PodSandbox.encode(sandbox).finish();
  return new EncodedList({
    source: ({ record }) => record,
    encodeFixed: (sandbox) => encode(sandboxToWire(sandbox)),
    encodeChanging: (sandbox) => encode({ state: sandboxStateToWire(sandbox) }),
  });
}

export function listPodSandbox(
  sandboxes: SandboxUseCases,
  list: EncodedList<SandboxView>,
  request: v1.ListPodSandboxRequest,
): EncodedMessage {
  return list.encode(filterSandboxes(sandboxes.list(), request.filter, "filter"));
}

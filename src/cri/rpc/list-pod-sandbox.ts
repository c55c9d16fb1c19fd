import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { filterSandboxes } from "../convert/filter.ts";
import { sandboxToWire } from "../convert/sandbox-status.ts";
import type { SandboxUseCases } from "../services.ts";

export function listPodSandbox(
  sandboxes: SandboxUseCases,
  request: v1.ListPodSandboxRequest,
): v1.ListPodSandboxResponseSent {
  return { items: filterSandboxes(sandboxes.list(), request.filter, "filter").map(sandboxToWire) };
}

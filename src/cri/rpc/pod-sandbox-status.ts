import { toInt64 } from "../../../cri-api/int64.ts";
import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { containerStatusesToWire } from "../convert/event.ts";
import { nonEmpty } from "../convert/field.ts";
import { sandboxStatusToWire } from "../convert/sandbox-status.ts";
import { verboseInfo } from "../convert/verbose-info.ts";
import type { ContainerUseCases, EventUseCases, SandboxUseCases } from "../services.ts";

export interface PodSandboxStatusParts {
  sandboxes: SandboxUseCases;
  containers: ContainerUseCases;
  events: EventUseCases;
}

/** With containers and time: a kubelet that listens to events compares them with the events it had. */
export async function podSandboxStatus(
  { sandboxes, containers, events }: PodSandboxStatusParts,
  request: v1.PodSandboxStatusRequest,
): Promise<v1.PodSandboxStatusResponseSent> {
  const sandbox = sandboxes.get(nonEmpty(request.podSandboxId, "pod_sandbox_id"));
  const { id } = sandbox.record;
  const ofPod = containers.list().filter(({ record }) => record.sandboxId === id);
  const status = {
    status: sandboxStatusToWire(sandbox),
    containersStatuses: containerStatusesToWire(ofPod, containers),
    timestamp: toInt64(events.nowNs()),
  };
  return { ...status, info: request.verbose ? verboseInfo("info", await sandboxes.describe(id)) : {} };
}

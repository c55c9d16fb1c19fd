// An event of GetContainerEvents, and what it has in common with PodSandboxStatus.
import { hasCode } from "../../base/errors.ts";
import { toInt64 } from "../../../cri-api/int64.ts";
import { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { ContainerUseCases, ContainerView, LifecycleEvent } from "../services.ts";
import { containerStatusToWire } from "./container-status.ts";
import { sandboxStatusToWire } from "./sandbox-status.ts";

const eventTypes: Record<LifecycleEvent["change"], number> = {
  created: v1.ContainerEventType.CONTAINER_CREATED_EVENT,
  started: v1.ContainerEventType.CONTAINER_STARTED_EVENT,
  stopped: v1.ContainerEventType.CONTAINER_STOPPED_EVENT,
  deleted: v1.ContainerEventType.CONTAINER_DELETED_EVENT,
};

export function eventToWire(
  event: LifecycleEvent,
  containers: ContainerUseCases,
): v1.ContainerEventResponseSent {
  const { objectId, change, createdAtNs, sandbox } = event;
  return {
    containerId: objectId,
    containerEventType: eventTypes[change],
    createdAt: toInt64(createdAtNs),
    podSandboxStatus: sandbox === undefined ? null : sandboxStatusToWire(sandbox),
    containersStatuses: containerStatusesToWire(event.containers, containers),
  };
}

export function containerStatusesToWire(
  views: readonly ContainerView[],
  containers: ContainerUseCases,
): v1.ContainerStatusSent[] {
  return views.map((view) => containerStatusToWire(view, resourcesOf(view, containers)));
}

// The limits are the cgroup's, and the container of an event may be gone by the time the event is sent.
function resourcesOf(
  view: ContainerView,
  containers: ContainerUseCases,
): ContainerView["record"]["resources"] {
  try {
    return containers.resources(view.record.id);
  } catch (error) {
    if (hasCode(error, "not-found")) return view.record.resources;
    throw error;
  }
}

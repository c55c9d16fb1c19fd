// The calls that a plugin may be asked to answer, beyond those with which it begins.
import { v1 } from "../../../cri-api/nri/v1/api.js";
import type { Call } from "./plugin.ts";

const { Event } = v1;
const pod = { request: v1.PodRequest, response: v1.Empty };
const container = { request: v1.ContainerRequest, response: v1.Empty };
const updating = { request: v1.ContainerRequest, response: v1.UpdateContainerResponse };

export const calls = {
  runPodSandbox: { event: Event.RUN_POD_SANDBOX, method: "RunPodSandbox", ...pod },
  updatePodSandbox: { event: Event.UPDATE_POD_SANDBOX, method: "UpdatePodSandbox", ...pod },
  postUpdatePodSandbox: { event: Event.POST_UPDATE_POD_SANDBOX, method: "PostUpdatePodSandbox", ...pod },
  stopPodSandbox: { event: Event.STOP_POD_SANDBOX, method: "StopPodSandbox", ...pod },
  removePodSandbox: { event: Event.REMOVE_POD_SANDBOX, method: "RemovePodSandbox", ...pod },
  createContainer: {
    event: Event.CREATE_CONTAINER,
    method: "CreateContainer",
    request: v1.ContainerRequest,
    response: v1.CreateContainerResponse,
  },
  postCreateContainer: { event: Event.POST_CREATE_CONTAINER, method: "PostCreateContainer", ...container },
  startContainer: { event: Event.START_CONTAINER, method: "StartContainer", ...container },
  postStartContainer: { event: Event.POST_START_CONTAINER, method: "PostStartContainer", ...container },
  updateContainer: { event: Event.UPDATE_CONTAINER, method: "UpdateContainer", ...updating },
  postUpdateContainer: { event: Event.POST_UPDATE_CONTAINER, method: "PostUpdateContainer", ...container },
  stopContainer: { event: Event.STOP_CONTAINER, method: "StopContainer", ...updating },
  removeContainer: { event: Event.REMOVE_CONTAINER, method: "RemoveContainer", ...container },
  validate: {
    event: Event.VALIDATE_CONTAINER_ADJUSTMENT,
    method: "ValidateContainerAdjustment",
    request: v1.ValidateContainerAdjustmentRequest,
    response: v1.ValidateContainerAdjustmentResponse,
  },
} as const satisfies Record<string, Call<never, unknown>>;

export type PodCall =
  "runPodSandbox" | "updatePodSandbox" | "postUpdatePodSandbox" | "stopPodSandbox" | "removePodSandbox";

/** Calls whose answer says nothing. */
export type ContainerCall =
  "postCreateContainer" | "startContainer" | "postStartContainer" | "postUpdateContainer" | "removeContainer";

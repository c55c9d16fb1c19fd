// A container as ListContainers and ContainerStatus show it.
import type { ContainerRecord, ContainerState } from "../../container/container-record.ts";
import type { LinuxResources } from "../../sandbox/sandbox-config.ts";
import { toInt64 } from "../../../cri-api/int64.ts";
import { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { ContainerView } from "../services.ts";
import { mountToWire } from "./mount.ts";
import { resourcesToWire } from "./resources.ts";
import { signalToWire } from "./signal.ts";

const stateNumbers: Record<ContainerState, number> = {
  created: v1.ContainerState.CONTAINER_CREATED,
  running: v1.ContainerState.CONTAINER_RUNNING,
  exited: v1.ContainerState.CONTAINER_EXITED,
};

function imageToWire(record: ContainerRecord, name: string): v1.ImageSpecSent {
  const { image } = record.config;
  return {
    image: name,
    annotations: image.annotations,
    userSpecifiedImage: image.userSpecified,
    runtimeHandler: image.runtimeHandler,
  };
}

export function containerStateToWire(state: ContainerState): number {
  return stateNumbers[state];
}

/** An item of ListContainers without its state, which is derived anew each time. */
export function containerToWire({ record }: ContainerView): v1.ContainerSent {
  return {
    id: record.id,
    podSandboxId: record.sandboxId,
    metadata: record.config.metadata,
    // The list shows what the container was made from, the status a name of the image (CRI Container.image).
    image: imageToWire(record, record.config.image.reference),
    imageRef: record.image.ref,
    imageId: record.image.id,
    createdAt: toInt64(record.createdAtNs),
    labels: record.config.labels,
    annotations: record.config.annotations,
  };
}

export function containerStatusToWire(
  container: ContainerView,
  resources: LinuxResources,
): v1.ContainerStatusSent {
  const { record, state } = container;
  const { end } = record;
  return {
    id: record.id,
    metadata: record.config.metadata,
    state: stateNumbers[state],
    createdAt: toInt64(record.createdAtNs),
    startedAt: toInt64(record.startedAtNs ?? 0n),
    finishedAt: toInt64(end?.finishedAtNs ?? 0n),
    exitCode: end?.exitCode ?? 0,
    reason: end?.reason ?? "",
    message: end?.message ?? "",
    image: imageToWire(record, record.image.name),
    imageRef: record.image.ref,
    imageId: record.image.id,
    labels: record.config.labels,
    annotations: record.config.annotations,
    mounts: record.config.mounts.map((mount) => mountToWire(mount, record.imageVolumes)),
    logPath: record.logPath,
    resources: { linux: resourcesToWire(resources) },
    user: { linux: userToWire(record.user) },
    stopSignal: signalToWire(record.stopSignal),
  };
}

function userToWire(user: ContainerRecord["user"]): v1.LinuxContainerUserSent {
  return {
    uid: toInt64(BigInt(user.uid)),
    gid: toInt64(BigInt(user.gid)),
    supplementalGroups: user.supplementalGroups.map((group) => toInt64(BigInt(group))),
  };
}

// What a plugin is told of first, in messages that fit.
import type { v1 } from "../../../cri-api/nri/v1/api.js";
import { v1 as types } from "../../../cri-api/nri/v1/api.js";

/** Well below what ttrpc takes (4 MiB), as its own frame and the field tags come on top. */
const maxBytes = 3 * 1024 * 1024;

interface Item {
  pod?: v1.PodSandboxSent;
  container?: v1.ContainerSent;
  bytes: number;
}

/** One message where all fits into one, as it nearly always does; `more` is set on all but the last. */
export function splitSynchronize(
  pods: readonly v1.PodSandboxSent[],
  containers: readonly v1.ContainerSent[],
  limitBytes = maxBytes,
): v1.SynchronizeRequestSent[] {
  const items: Item[] = [
    ...pods.map((pod) => ({ pod, bytes: types.PodSandbox.encode(pod).finish().length })),
    ...containers.map((container) => ({
      container,
      bytes: types.Container.encode(container).finish().length,
    })),
  ];
  const groups: Item[][] = [[]];
  let total = 0;
  for (const item of items) {
    if (total > 0 && total + item.bytes > limitBytes) {
      groups.push([]);
      total = 0;
    }
    groups.at(-1)!.push(item);
    total += item.bytes;
  }
  return groups.map((group, index) => ({
    pods: group.flatMap(({ pod }) => pod ?? []),
    containers: group.flatMap(({ container }) => container ?? []),
    more: index < groups.length - 1,
  }));
}

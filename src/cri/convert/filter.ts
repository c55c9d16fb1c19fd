// Filters of the list calls: everything that is given must match. An id that matches nothing yields an empty list.
import { invalidArgument } from "../../base/errors.ts";
import type { ContainerState } from "../../container/container-record.ts";
import { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { ContainerView, SandboxView } from "../services.ts";
import { enumChoice } from "./field.ts";

interface Labelled {
  readonly labels: Readonly<Record<string, string>>;
}

/** Ids match by prefix: crictl passes on what its user typed. */
function matchesId(id: string, wanted: string): boolean {
  return id.startsWith(wanted);
}

function matchesLabels({ labels }: Labelled, selector: Readonly<Record<string, string>>): boolean {
  return Object.entries(selector).every(
    ([key, value]) => Object.hasOwn(labels, key) && labels[key] === value,
  );
}

export function filterSandboxes(
  sandboxes: readonly SandboxView[],
  filter: v1.PodSandboxFilter | null | undefined,
  at: string,
): SandboxView[] {
  if (filter === null || filter === undefined) return [...sandboxes];
  const states = { SANDBOX_READY: true, SANDBOX_NOTREADY: false };
  const ready = filter.state
    ? enumChoice(filter.state.state, v1.PodSandboxState, states, `${at}.state.state`)
    : undefined;
  return sandboxes.filter(
    (sandbox) =>
      matchesId(sandbox.record.id, filter.id) &&
      (ready === undefined || sandbox.isReady === ready) &&
      matchesLabels(sandbox.record.config, filter.labelSelector),
  );
}

export function filterSandboxStats(
  sandboxes: readonly SandboxView[],
  filter: v1.PodSandboxStatsFilter | null | undefined,
): SandboxView[] {
  if (filter === null || filter === undefined) return [...sandboxes];
  return sandboxes.filter(
    (sandbox) =>
      matchesId(sandbox.record.id, filter.id) && matchesLabels(sandbox.record.config, filter.labelSelector),
  );
}

export interface ContainerFilterWire {
  id: string;
  podSandboxId: string;
  labelSelector: Record<string, string>;
  state?: v1.ContainerStateValue | null;
}

export function filterContainers(
  containers: readonly ContainerView[],
  filter: ContainerFilterWire | null | undefined,
  at: string,
): ContainerView[] {
  if (filter === null || filter === undefined) return [...containers];
  const states = containerStatesFromWire(filter.state, `${at}.state.state`);
  return containers.filter(
    ({ record, state }) =>
      matchesId(record.id, filter.id) &&
      matchesId(record.sandboxId, filter.podSandboxId) &&
      (states === undefined || states.includes(state)) &&
      matchesLabels(record.config, filter.labelSelector),
  );
}

function containerStatesFromWire(
  wire: v1.ContainerStateValue | null | undefined,
  at: string,
): ContainerState[] | undefined {
  if (wire === null || wire === undefined) return undefined;
  const states: Record<string, ContainerState[]> = {
    CONTAINER_CREATED: ["created"],
    CONTAINER_RUNNING: ["running"],
    CONTAINER_EXITED: ["exited"],
    // No container of this runtime is ever in an unknown state.
    CONTAINER_UNKNOWN: [],
  };
  return enumChoice(wire.state, v1.ContainerState, states, at);
}

/** @throws CricketError invalid-argument when the message that should name an image does not */
export function imageReference(image: v1.ImageSpec | null | undefined, at: string): string {
  const reference = image?.image ?? "";
  if (reference === "") throw invalidArgument(`${at}.image is empty`);
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u0020\u007f]/.test(reference))
    throw invalidArgument(
      `${at}.image is ${JSON.stringify(reference)}: contains a blank or control character`,
    );
  return reference;
}

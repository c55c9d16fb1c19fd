// What people type for a container or a pod: an id, the beginning of an id, or a name.
import type { CriClient } from "../../cri-api/client.ts";
import { fromInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { ExitError, exitStatus } from "./command.ts";

interface Named {
  id: string;
  metadata?: { name: string } | null;
  createdAt: v1.Container["createdAt"];
}

/**
 * The one object meant by `text`. A name that several have means the one that runs, else the newest.
 * Undefined: there is none.
 * @throws ExitError when the beginning of an id fits several
 */
export function choose<T extends Named>(
  objects: readonly T[],
  text: string,
  isRunning: (object: T) => boolean,
): T | undefined {
  const exact = objects.find((object) => object.id === text);
  if (exact !== undefined) return exact;
  const named = objects.filter((object) => object.metadata?.name === text);
  if (named.length > 0)
    return named.sort((a, b) => rank(b, isRunning) - rank(a, isRunning) || newer(a, b))[0];
  const beginning = /^[0-9a-f]+$/.test(text) ? objects.filter((object) => object.id.startsWith(text)) : [];
  if (beginning.length > 1)
    throw new ExitError(exitStatus.failure, `${text} is the beginning of several ids`);
  return beginning[0];
}

function rank<T>(object: T, isRunning: (object: T) => boolean): number {
  return isRunning(object) ? 1 : 0;
}

function newer(a: Named, b: Named): number {
  return fromInt64(a.createdAt) > fromInt64(b.createdAt) ? -1 : 1;
}

export async function findContainer(client: CriClient, text: string): Promise<v1.Container | undefined> {
  const { containers } = await client.runtime.listContainers({});
  return choose(containers, text, ({ state }) => state === v1.ContainerState.CONTAINER_RUNNING);
}

export async function findSandbox(client: CriClient, text: string): Promise<v1.PodSandbox | undefined> {
  const { items } = await client.runtime.listPodSandbox({});
  return choose(items, text, ({ state }) => state === v1.PodSandboxState.SANDBOX_READY);
}

/** @throws ExitError with `failure` as its status when there is no such container */
export async function needContainer(
  client: CriClient,
  text: string,
  failure: number = exitStatus.failure,
): Promise<v1.Container> {
  const container = await findContainer(client, text);
  if (container === undefined) throw new ExitError(failure, `there is no container ${text}`);
  return container;
}

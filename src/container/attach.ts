// Attach: a client joins the standard streams of a container's first process, through its monitor.
import { CricketError, failedPrecondition, wrapError } from "../base/errors.ts";
import { attachMonitor } from "../linux/attach-monitor.ts";
import type { Paths } from "../config/paths.ts";
import type { Container, ContainerStore } from "./container-store.ts";
import { relayStreams, type SessionStreams } from "./session-streams.ts";

export interface AttachParts {
  store: ContainerStore;
  paths: Paths;
}

/** @throws CricketError not-found, failed-precondition when the container does not run */
export function assertCanAttach(id: string, store: ContainerStore): Container {
  const container = store.get(id);
  if (container.state !== "running")
    throw failedPrecondition(`container ${container.id} is ${container.state}, attach needs a running one`);
  return container;
}

/** @throws CricketError not-found, failed-precondition unless the container is created and not started */
export function assertCanStartAttached(id: string, store: ContainerStore): Container {
  const container = store.get(id);
  if (container.state !== "created")
    throw failedPrecondition(`container ${container.id} is ${container.state}, only a created one can start`);
  return container;
}

/**
 * Resolves when the container has ended or the client has gone; the container does not notice either.
 * @throws CricketError resource-exhausted when the client read so slowly that the monitor dropped it
 */
export async function attachContainer(
  id: string,
  streams: SessionStreams,
  { store, paths }: AttachParts,
): Promise<void> {
  await serveAttachment(assertCanAttach(id, store), streams, paths);
}

/** As attachContainer, for a container that is started once the attachment stands. @throws as the start does, too */
export async function startAttached(
  id: string,
  streams: SessionStreams,
  { store, paths, start }: AttachParts & { start: () => Promise<void> },
): Promise<void> {
  await serveAttachment(assertCanStartAttached(id, store), streams, paths, start);
}

async function serveAttachment(
  container: Container,
  streams: SessionStreams,
  paths: Paths,
  start?: () => Promise<void>,
): Promise<void> {
  const attachment = await attachMonitor(paths.containerDir(container.id), {
    stdin: streams.stdin !== undefined,
    stdout: streams.stdout !== undefined,
    stderr: streams.stderr !== undefined,
    // Who starts a container with its own streams may page through what it writes.
    waits: start !== undefined,
  }).catch((error: unknown) => {
    throw wrapError(`attach to container ${container.id}`, error);
  });
  const leave = (): void => attachment.detach();
  try {
    if (streams.gone.aborted) leave();
    else streams.gone.addEventListener("abort", leave);
    if (attachment.tty) streams.onResize(({ rows, columns }) => attachment.resize(rows, columns));
    await start?.();
    await Promise.all([attachment.closed, relayStreams(attachment, streams)]);
  } finally {
    streams.gone.removeEventListener("abort", leave);
    leave();
  }
  if (!streams.gone.aborted) await assertEnded(container);
}

/** The monitor closes its connections when the container has ended, and before that only those that do not read. */
async function assertEnded(container: Container): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  // The exit travels on another connection and may be a moment later.
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), 1_000);
  });
  const ended = await Promise.race([container.ended.then(() => true), late]);
  clearTimeout(timer);
  if (!ended)
    throw new CricketError(
      "resource-exhausted",
      `attach to container ${container.id}: the client read too slowly`,
    );
}

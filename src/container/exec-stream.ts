// Exec: one more process in a container, with the streams of a client that is there.
import { wrapError } from "../base/errors.ts";
import { startExec, type ExecSession } from "../linux/start-exec.ts";
import type { Container } from "./container-store.ts";
import { assertCanExec, type ExecParts } from "./prepare-exec.ts";
import { relayStreams, type SessionStreams } from "./session-streams.ts";

export interface ExecStreamRequest {
  containerId: string;
  command: readonly string[];
  tty: boolean;
}

/** What a terminal has until its client tells otherwise. */
const initialSize = { rows: 24, columns: 80 };
/**
 * Once the container is being stopped: how long a client may take for the output that is left. In any case: how long the
 * relay may take to end, which does not hear that it should while the program leaves the input before that unread.
 */
const drainMs = 2_000;

/**
 * Resolves when the command has ended and its output is with the client. Its whole tree dies when the client goes or
 * the container is stopped, so that neither leaves a process behind that nobody knows (cri-o#6699).
 * @throws CricketError; LaunchError as cause when the command cannot be run
 */
export async function execStream(
  request: ExecStreamRequest,
  streams: SessionStreams,
  parts: ExecParts,
): Promise<{ exitCode: number }> {
  const container = assertCanExec(request.containerId, request.command, parts.store);
  const stop = new AbortController();
  container.execs.add(stop);
  try {
    return await runSession(container, request, { streams, stop: stop.signal }, parts);
  } catch (error) {
    throw wrapError(`exec in container ${container.id}`, error);
  } finally {
    container.execs.delete(stop);
  }
}

async function runSession(
  container: Container,
  { command, tty }: ExecStreamRequest,
  client: { streams: SessionStreams; stop: AbortSignal },
  parts: ExecParts,
): Promise<{ exitCode: number }> {
  const { streams, stop } = client;
  let size = initialSize;
  streams.onResize((told) => (size = told));
  const runtime = parts.runtimes.of(container.record);
  using prepared = runtime.prepareExec({ container, command, terminal: tty ? size : undefined }, parts);
  const { killCgroup, adopts, onListener, failure } = prepared;
  const options = { stdin: streams.stdin !== undefined, killCgroup, adopts, onListener };
  const session = await startExec(parts.helper, prepared.program, options).catch((error: unknown) => {
    throw failure === undefined ? error : failure(error);
  });
  if (tty) streams.onResize(({ rows, columns }) => session.resize(rows, columns));
  const ends = AbortSignal.any([stop, streams.gone]);
  const timers: NodeJS.Timeout[] = [];
  const end = (): void => {
    session.kill();
    timers.push(setTimeout(() => dropOutput(session), streams.gone.aborted ? 0 : drainMs));
    timers.push(setTimeout(() => session.abandon(), drainMs));
  };
  if (ends.aborted) end();
  else ends.addEventListener("abort", end);
  try {
    const relayed = relayStreams(session, streams);
    const [{ exitCode }] = await Promise.all([session.exit, relayed]);
    return { exitCode };
  } finally {
    ends.removeEventListener("abort", end);
    for (const timer of timers) clearTimeout(timer);
  }
}

function dropOutput({ stdout, stderr }: ExecSession): void {
  stdout.destroy();
  stderr.destroy();
}

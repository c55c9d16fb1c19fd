// remotecommand over SPDY, v1 to v4: the client opens one stream each for error, stdin, stdout, stderr and resize,
// and names it in the header `streamType`.
import type { Duplex } from "node:stream";
import { CricketError } from "../base/errors.ts";
import {
  formatStatus,
  plainStatus,
  TerminalSizes,
  type RemoteCommand,
  type RemoteStatus,
  type StreamChoice,
} from "./remote-command.ts";
import { SpdyConnection } from "./spdy-connection.ts";
import type { SpdyStream } from "./spdy-stream.ts";

export type SpdyCommandVersion = 1 | 2 | 3 | 4;

/** Best first; the client's order decides. */
export const spdyCommandProtocols: ReadonlyMap<string, SpdyCommandVersion> = new Map([
  ["v4.channel.k8s.io", 4],
  ["v3.channel.k8s.io", 3],
  ["v2.channel.k8s.io", 2],
  ["channel.k8s.io", 1],
]);

export interface SpdyCommandOptions {
  choice: StreamChoice;
  version: SpdyCommandVersion;
  /** How long the client may take to open its streams. */
  creationTimeoutMs: number;
}

/**
 * Waits until the client has opened every stream of its request.
 * @throws CricketError deadline-exceeded or cancelled; then the connection is closed
 */
export async function acceptSpdyCommand(
  transport: Duplex,
  options: SpdyCommandOptions,
): Promise<RemoteCommand> {
  const missing = new Set(expectedStreams(options));
  const streams = new Map<string, SpdyStream>();
  let complete: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    complete = resolve;
  });
  const onStream = (stream: SpdyStream): boolean => {
    const type = stream.headers.get("streamtype") ?? "";
    if (!missing.delete(type)) return false;
    streams.set(type, stream);
    if (missing.size === 0) complete();
    return true;
  };
  const connection = new SpdyConnection(transport, { role: "server", onStream });
  await untilOpened(opened, connection, options.creationTimeoutMs);
  return remoteCommand(connection, streams, options.version);
}

function expectedStreams({ choice, version }: SpdyCommandOptions): string[] {
  const { stdin, stdout, stderr, tty } = choice;
  const wanted = { error: true, stdin, stdout, stderr, resize: tty && version >= 3 };
  return Object.entries(wanted).flatMap(([type, isWanted]) => (isWanted ? [type] : []));
}

async function untilOpened(
  opened: Promise<void>,
  connection: SpdyConnection,
  timeoutMs: number,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const failed = new Promise<never>((_resolve, reject) => {
    const fail = (code: "deadline-exceeded" | "cancelled", message: string): void =>
      reject(new CricketError(code, message));
    timer = setTimeout(
      () => fail("deadline-exceeded", `the client opened no streams within ${timeoutMs} ms`),
      timeoutMs,
    );
    connection.gone.addEventListener("abort", () => fail("cancelled", "the client has gone"), { once: true });
    if (connection.gone.aborted) fail("cancelled", "the client has gone");
  });
  try {
    await Promise.race([opened, failed]);
  } catch (error) {
    connection.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    failed.catch(() => {});
  }
}

function remoteCommand(
  connection: SpdyConnection,
  streams: ReadonlyMap<string, SpdyStream>,
  version: SpdyCommandVersion,
): RemoteCommand {
  const sizes = new TerminalSizes();
  streams.get("resize")?.on("data", (bytes: Buffer) => sizes.push(bytes));
  const error = streams.get("error");
  // Nothing is expected on these; their ends are.
  for (const type of ["error", "stdout", "stderr"]) streams.get(type)?.resume();
  return {
    streams: {
      stdin: streams.get("stdin"),
      stdout: streams.get("stdout"),
      stderr: streams.get("stderr"),
      onResize: (take) => sizes.onResize(take),
      gone: connection.gone,
    },
    finish: (status: RemoteStatus) => {
      const text = version === 4 ? formatStatus(status) : plainStatus(status);
      error?.end(text);
      connection.close();
    },
  };
}

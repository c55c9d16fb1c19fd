// An exec or attach session with the user's own streams at its other end: remotecommand v4 over SPDY.
import type { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { SpdyConnection } from "../streaming/spdy-connection.ts";
import type { SpdyStream } from "../streaming/spdy-stream.ts";
import type { StandardStreams } from "./command.ts";
import { DetachKeys } from "./detach-keys.ts";
import { connectStream } from "./stream-connection.ts";
import { UserTerminal } from "./terminal.ts";

export interface RemoteSession {
  url: string;
  stdin: boolean;
  tty: boolean;
  streams: StandardStreams;
  /** Leaves: an exec'd command dies with that, an attached container goes on. */
  signal: AbortSignal;
  /** Looked for while the terminal is raw; none: there is no way out but the program's end. */
  detachKeys?: readonly number[];
}

export type RemoteEnd =
  | { kind: "ended"; exitCode: number }
  | { kind: "failed"; message: string }
  /** By keys or by `signal`. */
  | { kind: "left" };

/** @throws ExitError when the session cannot be begun */
export async function runRemoteCommand(session: RemoteSession): Promise<RemoteEnd> {
  const connection = await connectStream(session.url, "v4.channel.k8s.io");
  const leave = (): void => connection.destroy();
  session.signal.addEventListener("abort", leave);
  if (session.signal.aborted) leave();
  const terminal = new UserTerminal(session.streams, session.tty && session.stdin);
  try {
    return await converse(connection, session, terminal);
  } finally {
    terminal.release();
    session.signal.removeEventListener("abort", leave);
    connection.destroy();
  }
}

async function converse(
  connection: SpdyConnection,
  session: RemoteSession,
  terminal: UserTerminal,
): Promise<RemoteEnd> {
  const { streams, tty, signal } = session;
  const open = (type: string): SpdyStream => connection.openStream(new Map([["streamtype", type]]));
  const error = open("error");
  const outputs = [show(open("stdout"), streams.stdout)];
  if (!tty) outputs.push(show(open("stderr"), streams.stderr));
  const hasLeft = new AbortController();
  if (session.stdin) {
    const keys = terminal.isRaw ? new DetachKeys(session.detachKeys ?? []) : undefined;
    type(streams.stdin, open("stdin"), keys, () => {
      hasLeft.abort();
      connection.destroy();
    });
  }
  if (tty) {
    const resize = open("resize");
    terminal.onResize(({ rows, columns }) =>
      resize.write(`${JSON.stringify({ Width: columns, Height: rows })}\n`),
    );
  }
  const [status] = await Promise.all([textOf(error), ...outputs]);
  return hasLeft.signal.aborted || signal.aborted ? { kind: "left" } : parseStatus(status);
}

/** Resolves when all has been written, or the connection is gone. */
async function show(from: SpdyStream, to: Writable): Promise<void> {
  await pipeline(from, to, { end: false }).catch(() => {});
}

/** What the user types, or pipes in, until its end. Not by `pipeline`, which would destroy the user's own stream. */
function type(from: Readable, to: SpdyStream, keys: DetachKeys | undefined, onDetach: () => void): void {
  const onData = (chunk: Buffer): void => {
    const { passed, detached } = keys?.take(chunk) ?? { passed: chunk, detached: false };
    if (detached) onDetach();
    else if (passed.length > 0 && !to.write(passed)) {
      from.pause();
      to.once("drain", () => from.resume());
    }
  };
  const onEnd = (): void => void to.end();
  from.on("data", onData).once("end", onEnd).once("error", onEnd);
  to.once("close", () => from.off("data", onData).off("end", onEnd).pause());
}

async function textOf(stream: SpdyStream): Promise<string> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of stream.iterator({ destroyOnReturn: false })) chunks.push(chunk as Buffer);
  } catch {
    // The connection is gone: what has come is not a status.
  }
  return Buffer.concat(chunks).toString();
}

/** A meta.k8s.io Status. */
export function parseStatus(text: string): RemoteEnd {
  if (text === "") return { kind: "failed", message: "the connection to the daemon was lost" };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return { kind: "failed", message: text };
  }
  const { status, reason, message, details } = parsed as {
    status?: string;
    reason?: string;
    message?: string;
    details?: { causes?: { reason?: string; message?: string }[] };
  };
  if (status === "Success") return { kind: "ended", exitCode: 0 };
  const cause = details?.causes?.find((one) => one.reason === "ExitCode");
  if (reason === "NonZeroExitCode" && cause !== undefined)
    return { kind: "ended", exitCode: Number(cause.message) & 0xff };
  return { kind: "failed", message: message ?? text };
}

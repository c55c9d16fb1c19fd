// Attaches to the standard streams of a running container through its monitor.
import type { Readable, Writable } from "node:stream";
import { connectMonitorSocket } from "./connect-monitor-socket.ts";
import { ControlConnection } from "./control-connection.ts";
import { FrameStreams } from "./frame-streams.ts";
import { type HelloFrame, attachFlag, decodeHello, encodeNumbers, frameType } from "./frames.ts";
import { CricketError, errnoOf, wrapError } from "../base/errors.ts";

export interface AttachOptions {
  stdin?: boolean;
  stdout?: boolean;
  stderr?: boolean;
  /** The container waits for this client, however slowly it reads; others are dropped when they hold it up for long. */
  waits?: boolean;
}

export interface Attachment {
  /** Whether the container has a terminal: then all output is on stdout. */
  tty: boolean;
  /** Ending it closes the container's stdin if that was asked to be used once (stdin_once). */
  stdin: Writable;
  stdout: Readable;
  stderr: Readable;
  resize(rows: number, columns: number): void;
  /** Leaves; the container goes on. */
  detach(): void;
  /** Settles when the connection is closed: the container ended, `detach`, or the monitor dropped a slow client. */
  closed: Promise<void>;
}

/** Rejects with CricketError "not-found" when the container has no monitor (any more). */
export async function attachMonitor(containerDir: string, options: AttachOptions): Promise<Attachment> {
  const socket = await connectMonitorSocket(containerDir).catch((error: unknown) => {
    const errno = errnoOf(error);
    if (errno === "ENOENT" || errno === "ECONNREFUSED") throw notThere(containerDir);
    throw wrapError(`attach to the container in ${containerDir}`, error);
  });
  const flags =
    (options.stdin === true ? attachFlag.stdin : 0) |
    (options.stdout === true ? attachFlag.stdout : 0) |
    (options.stderr === true ? attachFlag.stderr : 0) |
    (options.waits === true ? attachFlag.waits : 0);
  return new Promise((resolve, reject) => {
    let hello: HelloFrame | undefined;
    let close: () => void = () => {};
    const closed = new Promise<void>((done) => {
      close = done;
    });
    const connection = new ControlConnection(socket, {
      onFrame(frame) {
        if (streams.take(frame)) return;
        if (frame.type === frameType.hello) hello = decodeHello(frame.payload);
        if (frame.type !== frameType.attached || hello === undefined) return;
        resolve(attachmentOf(connection, streams, hello, closed));
      },
      onClose() {
        reject(notThere(containerDir));
        streams.end();
        close();
      },
    });
    const streams = new FrameStreams(connection);
    connection.send(frameType.attach, encodeNumbers(flags));
  });
}

function attachmentOf(
  connection: ControlConnection,
  streams: FrameStreams,
  hello: HelloFrame,
  closed: Promise<void>,
): Attachment {
  return {
    tty: hello.tty,
    stdin: streams.stdin,
    stdout: streams.stdout,
    stderr: streams.stderr,
    resize: (rows, columns) => connection.sendLatest(frameType.resize, encodeNumbers(rows, columns)),
    detach: () => connection.close(),
    closed,
  };
}

function notThere(containerDir: string): CricketError {
  return new CricketError("not-found", `monitor in ${containerDir} is not there`);
}

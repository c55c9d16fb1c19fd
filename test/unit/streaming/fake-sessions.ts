// A streaming server with programs that the test writes, and raw clients of it.
import { connect, type Socket } from "node:net";
import { Log } from "../../../src/base/log.ts";
import type { SessionStreams } from "../../../src/container/session-streams.ts";
import type { StreamChoice } from "../../../src/streaming/remote-command.ts";
import type { Sessions } from "../../../src/streaming/serve-session.ts";
import { StreamingServer, type StreamingOptions } from "../../../src/streaming/streaming-server.ts";

export type Program = (streams: SessionStreams, command: readonly string[]) => Promise<number>;

export interface FakeNode {
  server: StreamingServer;
  log: string[];
  /** The address of a command; `streams` are stdout and stderr where not given. */
  execUrl: (command: string[], streams?: Partial<StreamChoice>) => string;
}

export async function startFakeNode(
  program: Program,
  options: Partial<StreamingOptions> = {},
  dial: Sessions["dial"] = () => Promise.reject(new Error("nobody listens")),
): Promise<FakeNode> {
  const log: string[] = [];
  const run = async (streams: SessionStreams): Promise<void> => void (await program(streams, []));
  const server = await StreamingServer.listen(
    { address: "127.0.0.1", port: 0, idleTimeoutMs: 60_000, creationTimeoutMs: 60_000, ...options },
    {
      exec: async ({ command }, streams) => ({ exitCode: await program(streams, command) }),
      attach: (_id, streams) => run(streams),
      startAttached: (_id, streams) => run(streams),
      dial,
    },
    new Log({ write: (line) => void log.push(line) }),
  );
  const execUrl: FakeNode["execUrl"] = (command, choice = {}) => {
    const streams = { tty: false, stdin: false, stdout: true, stderr: true, ...choice };
    return server.urlOf({ kind: "exec", containerId: "c", command, streams });
  };
  return { server, log, execUrl };
}

/** A connection to the server that has said nothing yet. */
export async function connectRaw(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  socket.on("error", () => {});
  await new Promise((resolve) => socket.once("connect", resolve));
  return socket;
}

/** Resolves when the other side has closed. What it says is dropped. */
export async function closed(socket: Socket): Promise<void> {
  socket.resume();
  if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
}

// One streaming session: the upgrade of its connection, the work, and the status in the end.
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { createWebSocketStream, WebSocketServer, type WebSocket } from "ws";
import type { SessionStreams } from "../container/session-streams.ts";
import { commandStatus, failureStatus, type RemoteCommand, type StreamChoice } from "./remote-command.ts";
import { acceptSpdyCommand, spdyCommandProtocols } from "./spdy-remote-command.ts";
import { serveSpdyForward, spdyForwardProtocol } from "./spdy-port-forward.ts";
import { acceptSpdy, chooseSpdyProtocol, chooseSubprotocol, transportOf, UpgradeRefused } from "./upgrade.ts";
import {
  serveWebSocketForward,
  tunnelProtocol,
  webSocketForwardProtocols,
} from "./websocket-port-forward.ts";
import { acceptWebSocketCommand, webSocketCommandProtocols } from "./websocket-remote-command.ts";

export type SessionRequest =
  | { kind: "exec"; containerId: string; command: readonly string[]; streams: StreamChoice }
  | { kind: "attach"; containerId: string; streams: StreamChoice; starts: boolean }
  | { kind: "portforward"; sandboxId: string; ports: readonly number[] };

type CommandRequest = Exclude<SessionRequest, { kind: "portforward" }>;
type ForwardRequest = Extract<SessionRequest, { kind: "portforward" }>;

/** The work behind the sessions. */
export interface Sessions {
  exec(
    request: { containerId: string; command: readonly string[]; tty: boolean },
    streams: SessionStreams,
  ): Promise<{ exitCode: number }>;
  attach(containerId: string, streams: SessionStreams): Promise<void>;
  /** Of a created container, which it starts. */
  startAttached(containerId: string, streams: SessionStreams): Promise<void>;
  /** The socket is half-open: ending it leaves its other direction as it is. */
  dial(sandboxId: string, port: number): Promise<Socket>;
}

/** A connection whose request asks for an upgrade. */
export interface UpgradingClient {
  http: IncomingMessage;
  socket: Duplex;
  creationTimeoutMs: number;
}

/** Of one message. Clients send 32 KiB at a time; a larger limit would be memory for whoever wants it. */
const maxMessageBytes = 1024 * 1024;

/**
 * Resolves when the session is over.
 * @throws UpgradeRefused before the connection was upgraded; CricketError when the client did not keep to the protocol
 */
export async function serveSession(
  client: UpgradingClient,
  request: SessionRequest,
  sessions: Sessions,
): Promise<void> {
  const transport = transportOf(client.http);
  if (request.kind !== "portforward") {
    const remote = await (transport === "spdy"
      ? spdyCommand(client, request.streams)
      : webSocketCommand(client, request.streams));
    return serveCommand(remote, request, sessions);
  }
  return transport === "spdy"
    ? spdyForward(client, request, sessions)
    : webSocketForward(client, request, sessions);
}

async function serveCommand(
  remote: RemoteCommand,
  request: CommandRequest,
  sessions: Sessions,
): Promise<void> {
  const { containerId, streams } = request;
  try {
    if (request.kind === "attach") {
      if (request.starts) await sessions.startAttached(containerId, remote.streams);
      else await sessions.attach(containerId, remote.streams);
      remote.finish({ kind: "success" });
      return;
    }
    const { command } = request;
    const { exitCode } = await sessions.exec({ containerId, command, tty: streams.tty }, remote.streams);
    remote.finish(commandStatus(exitCode));
  } catch (error) {
    // The client is told; it asked for something that cannot be done.
    remote.finish(failureStatus(error));
  }
}

function spdyCommand(
  { http, socket, creationTimeoutMs }: UpgradingClient,
  choice: StreamChoice,
): Promise<RemoteCommand> {
  const protocol = chooseSpdyProtocol(http, spdyCommandProtocols.keys());
  acceptSpdy(socket, protocol);
  const version = spdyCommandProtocols.get(protocol) ?? 1;
  return acceptSpdyCommand(socket, { choice, version, creationTimeoutMs });
}

async function webSocketCommand(client: UpgradingClient, choice: StreamChoice): Promise<RemoteCommand> {
  const name = chooseSubprotocol(client.http, webSocketCommandProtocols.keys());
  const protocol = webSocketCommandProtocols.get(name);
  if (protocol === undefined) throw new UpgradeRefused(403, "no protocol");
  const webSocket = await upgradeWebSocket(client, name);
  return acceptWebSocketCommand(webSocket, protocol, choice);
}

function spdyForward(client: UpgradingClient, request: ForwardRequest, sessions: Sessions): Promise<void> {
  const { http, socket, creationTimeoutMs } = client;
  acceptSpdy(socket, chooseSpdyProtocol(http, [spdyForwardProtocol]));
  return serveSpdyForward(socket, { creationTimeoutMs, dial: dialer(request, sessions) });
}

async function webSocketForward(
  client: UpgradingClient,
  request: ForwardRequest,
  sessions: Sessions,
): Promise<void> {
  const dial = dialer(request, sessions);
  const name = chooseSubprotocol(client.http, [tunnelProtocol, ...webSocketForwardProtocols.keys()]);
  const webSocket = await upgradeWebSocket(client, name);
  if (name === tunnelProtocol) {
    const tunnel = createWebSocketStream(webSocket, { allowHalfOpen: true });
    return serveSpdyForward(tunnel, { creationTimeoutMs: client.creationTimeoutMs, dial });
  }
  return serveWebSocketForward(
    webSocket,
    webSocketForwardProtocols.get(name) ?? "binary",
    request.ports,
    dial,
  );
}

function dialer({ sandboxId }: ForwardRequest, sessions: Sessions): (port: number) => Promise<Socket> {
  return (port) => sessions.dial(sandboxId, port);
}

/** Never settles for a malformed handshake: it is answered, and the connection closed, by the WebSocket server. */
function upgradeWebSocket({ http, socket }: UpgradingClient, protocol: string): Promise<WebSocket> {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    skipUTF8Validation: true,
    maxPayload: maxMessageBytes,
  });
  // Chosen already. The name of the tunnel has a slash, which RFC 6455 does not allow and `ws` would refuse.
  delete http.headers["sec-websocket-protocol"];
  if (protocol !== "") server.on("headers", (headers) => headers.push(`Sec-WebSocket-Protocol: ${protocol}`));
  return new Promise((resolve) => {
    // What was read with the request was put back into the socket.
    server.handleUpgrade(http, socket, Buffer.alloc(0), resolve);
  });
}

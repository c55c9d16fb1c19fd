// remotecommand over WebSocket: channels 0 stdin, 1 stdout, 2 stderr, 3 error, 4 resize.
import type { WebSocket } from "ws";
import {
  formatStatus,
  plainStatus,
  TerminalSizes,
  type RemoteCommand,
  type StreamChoice,
} from "./remote-command.ts";
import { WebSocketChannels } from "./websocket-channels.ts";

const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4 } as const;

interface CommandProtocol {
  encoding: "binary" | "base64";
  version: 1 | 4 | 5;
}

/** By subprotocol; a client that names none speaks the first. */
export const webSocketCommandProtocols: ReadonlyMap<string, CommandProtocol> = new Map([
  ["", { encoding: "binary", version: 1 }],
  ["channel.k8s.io", { encoding: "binary", version: 1 }],
  ["base64.channel.k8s.io", { encoding: "base64", version: 1 }],
  ["v4.channel.k8s.io", { encoding: "binary", version: 4 }],
  ["v4.base64.channel.k8s.io", { encoding: "base64", version: 4 }],
  ["v5.channel.k8s.io", { encoding: "binary", version: 5 }],
]);

export function acceptWebSocketCommand(
  socket: WebSocket,
  { encoding, version }: CommandProtocol,
  choice: StreamChoice,
): RemoteCommand {
  const connection = new WebSocketChannels(socket, {
    encoding,
    channelCount: Object.keys(channels).length,
    hasCloseMessage: version === 5,
  });
  const sizes = new TerminalSizes();
  if (choice.tty) connection.input(channels.resize).on("data", (bytes: Buffer) => sizes.push(bytes));
  const error = connection.output(channels.error);
  const streams = {
    stdin: choice.stdin ? connection.input(channels.stdin) : undefined,
    stdout: choice.stdout ? connection.output(channels.stdout) : undefined,
    stderr: choice.stderr ? connection.output(channels.stderr) : undefined,
    onResize: sizes.onResize.bind(sizes),
    gone: connection.gone,
  };
  connection.announce(firstOutput(choice));
  return {
    streams,
    finish: (status) => {
      const text = version === 1 ? plainStatus(status) : formatStatus(status);
      if (text !== "") error.write(text);
      connection.close();
    },
  };
}

function firstOutput({ stdout, stderr }: StreamChoice): number {
  if (stdout) return channels.stdout;
  return stderr ? channels.stderr : channels.error;
}

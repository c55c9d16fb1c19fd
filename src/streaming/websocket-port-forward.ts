// port-forward over WebSocket: two channels for each port of the CRI request, 2i its bytes and 2i+1 an error text.
// The first message on each is the port, 16 bits in little-endian order.
import type { WebSocket } from "ws";
import { forwardPort, type DialPort } from "./forward-ports.ts";
import { WebSocketChannels } from "./websocket-channels.ts";

/** By subprotocol. Clients of today tunnel SPDY instead: `tunnelProtocol`. */
export const webSocketForwardProtocols: ReadonlyMap<string, "binary" | "base64"> = new Map([
  ["", "binary"],
  ["v4.channel.k8s.io", "binary"],
  ["v4.base64.channel.k8s.io", "base64"],
]);

/** A SPDY connection with portforward.k8s.io, in binary messages. */
export const tunnelProtocol = "SPDY/3.1+portforward.k8s.io";

/** Resolves when every port's connection is over. */
export async function serveWebSocketForward(
  socket: WebSocket,
  encoding: "binary" | "base64",
  ports: readonly number[],
  dial: DialPort,
): Promise<void> {
  const channels = new WebSocketChannels(socket, {
    encoding,
    channelCount: 2 * ports.length,
    hasCloseMessage: false,
  });
  const forwards = ports.map((port, index) => {
    const ends = {
      input: channels.input(2 * index),
      output: channels.output(2 * index),
      error: channels.output(2 * index + 1),
    };
    // A client cannot end a channel: once the pod has said everything, nothing waits for the client's last byte.
    ends.output.once("finish", () => ends.input.destroy());
    const first = Buffer.alloc(2);
    first.writeUInt16LE(port);
    ends.output.write(first);
    ends.error.write(first);
    return forwardPort(port, ends, dial);
  });
  await Promise.all(forwards);
  channels.close();
}

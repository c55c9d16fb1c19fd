// port-forward: each connection of the client is a pair of streams, one for its bytes and one for an error text.
import type { Duplex, Readable, Writable } from "node:stream";
import { finished, pipeline } from "node:stream";
import type { Socket } from "node:net";
import { messageOf } from "../base/errors.ts";

/** Connects to a port of the pod. */
export type DialPort = (port: number) => Promise<Socket>;

/** The client's half of one forwarded connection. */
export interface ForwardEnds {
  input: Readable;
  output: Writable;
  error: Writable;
}

/** Resolves when the connection is over in both directions, or could not be made: then `error` says why. */
export async function forwardPort(port: number, ends: ForwardEnds, dial: DialPort): Promise<void> {
  let socket: Socket;
  try {
    socket = await dial(port);
  } catch (error) {
    ends.error.end(`error forwarding port ${port}: ${messageOf(error)}`);
    ends.output.end();
    // What the client has sent meanwhile would hold up all other connections that share its own with this one.
    ends.input.resume();
    await settled(ends.output);
    return;
  }
  try {
    await Promise.all([copy(ends.input, socket), copy(socket, ends.output)]);
  } finally {
    socket.destroy();
    ends.error.end();
  }
}

/** Ends `to` after `from`; a break of one breaks the other. */
function copy(from: Readable, to: Writable): Promise<void> {
  return new Promise((resolve) => pipeline(from, to, () => resolve()));
}

function settled(stream: Writable | Duplex): Promise<void> {
  return new Promise((resolve) => finished(stream, { readable: false }, () => resolve()));
}

/** A TCP port as clients write it; undefined for anything else. */
export function parsePort(text: string): number | undefined {
  if (!/^[1-9]\d{0,4}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65_535 ? port : undefined;
}

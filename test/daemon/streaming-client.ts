// Clients of the streaming server: remotecommand and port-forward over SPDY, in the client's role of our own codec.
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Duplex } from "node:stream";
import { SpdyConnection } from "../../src/streaming/spdy-connection.ts";
import { encodeControl, encodeDataHead, spdyFrameType } from "../../src/streaming/spdy-frame.ts";
import { HeaderEncoder } from "../../src/streaming/spdy-headers.ts";
import type { SpdyStream } from "../../src/streaming/spdy-stream.ts";

export interface Answer {
  status: number;
  head: string;
  socket: Socket;
}

/** Sends one request and reads the head of the answer. */
export async function requestUpgrade(
  url: string,
  headers: Record<string, string>,
  method = "POST",
): Promise<Answer> {
  const { hostname, port, pathname, protocol } = new URL(url);
  const target = { host: hostname, port: Number(port) };
  const socket =
    protocol === "https:" ? connectTls({ ...target, rejectUnauthorized: false }) : connectTcp(target);
  const lines = Object.entries({ Host: "localhost", ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  socket.write(`${method} ${pathname} HTTP/1.1\r\n${lines.join("")}\r\n`);
  let bytes = Buffer.alloc(0);
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes = Buffer.concat([bytes, chunk]);
    if (bytes.includes("\r\n\r\n")) break;
  }
  const end = bytes.indexOf("\r\n\r\n") + 4;
  const head = bytes.toString("latin1", 0, end);
  if (bytes.length > end) socket.unshift(bytes.subarray(end));
  return { status: Number(head.split(" ")[1]), head, socket };
}

export const spdyHeaders = (protocol: string): Record<string, string> => ({
  Connection: "Upgrade",
  Upgrade: "SPDY/3.1",
  "X-Stream-Protocol-Version": protocol,
});

export async function connectSpdy(url: string, protocol: string): Promise<SpdyConnection> {
  const { status, head, socket } = await requestUpgrade(url, spdyHeaders(protocol));
  if (status !== 101) throw new Error(`not upgraded: ${head}`);
  return new SpdyConnection(socket, { role: "client" });
}

export interface CommandClient {
  connection: SpdyConnection;
  stream: (type: string) => SpdyStream;
}

/** Opens the streams named, `error` first. */
export async function connectCommand(
  url: string,
  types: readonly string[],
  protocol = "v4.channel.k8s.io",
): Promise<CommandClient> {
  const connection = await connectSpdy(url, protocol);
  const streams = new Map(
    ["error", ...types].map((type) => [type, connection.openStream(new Map([["streamtype", type]]))]),
  );
  return { connection, stream: (type) => streams.get(type)! };
}

/** Runs a command and sends it so much input that no buffers on the way hold it all. */
export async function floodInput(url: string): Promise<Socket> {
  const { socket } = await requestUpgrade(url, spdyHeaders("v4.channel.k8s.io"));
  socket.on("error", () => {});
  const encoder = new HeaderEncoder();
  for (const [index, type] of ["error", "stdin", "stdout", "stderr"].entries()) {
    const rest = Buffer.concat([Buffer.alloc(2), encoder.encode(new Map([["streamtype", type]]))]);
    socket.write(encodeControl({ type: spdyFrameType.synStream, numbers: [2 * index + 1, 0], rest }));
  }
  const input = Buffer.alloc(1 << 20);
  for (let mib = 0; mib < 32; mib++) {
    socket.write(encodeDataHead(3, input.length, false));
    socket.write(input);
  }
  return socket;
}

export async function readAll(stream: Duplex): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

export interface Outcome {
  stdout: string;
  stderr: string;
  status: { status: string; reason?: string; message?: string; details?: unknown };
}

/** Runs a session to its end. */
export async function runCommand(url: string, stdin?: string | Buffer): Promise<Outcome> {
  const types = ["stdout", "stderr", ...(stdin === undefined ? [] : ["stdin"])];
  const client = await connectCommand(url, types);
  if (stdin !== undefined) client.stream("stdin").end(stdin);
  const [stdout, stderr, status] = await Promise.all(
    ["stdout", "stderr", "error"].map((type) => readAll(client.stream(type))),
  );
  client.connection.destroy();
  return { stdout: stdout!, stderr: stderr!, status: JSON.parse(status!) as Outcome["status"] };
}

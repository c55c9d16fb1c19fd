// Bytes through an exec's streams, in both directions and over both protocols, with clients that do as little as they
// can: what is measured is the runtime.
import type { Socket } from "node:net";
import { WebSocket } from "ws";
import type { CriClient } from "../../cri-api/client.ts";
import {
  SpdyFrameReader,
  encodeControl,
  encodeDataHead,
  spdyFrameType,
} from "../../src/streaming/spdy-frame.ts";
import { HeaderEncoder } from "../../src/streaming/spdy-headers.ts";
import { requestUpgrade, spdyHeaders } from "../daemon/streaming-client.ts";

/** What clients in the field write at a time. */
const chunkBytes = 32_768;
/** Stream numbers of the SPDY client, in the order it opens them. */
const streamIds = { error: 1, stdin: 3, stdout: 5 } as const;
/** Channels of the WebSocket client. */
const channel = { stdin: 0, stdout: 1 } as const;

type Direction = "stdout" | "stdin";

/** MiB/s by what it is of. */
export async function measureThroughput(
  client: CriClient,
  containerId: string,
  sizeMib: number,
): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  const transports = { SPDY: spdyTransfer, WebSocket: webSocketTransfer };
  for (const [name, transfer] of Object.entries(transports)) {
    for (const direction of ["stdout", "stdin"] as const) {
      const url = await execUrl(client, containerId, direction, sizeMib);
      const begunAt = performance.now();
      const bytes = await transfer(url, direction, sizeMib * 2 ** 20);
      if (bytes !== sizeMib * 2 ** 20) throw new Error(`${name} ${direction}: ${bytes} bytes came`);
      found.set(`exec ${direction}, ${name}`, sizeMib / ((performance.now() - begunAt) / 1000));
    }
  }
  return found;
}

async function execUrl(
  client: CriClient,
  containerId: string,
  direction: Direction,
  sizeMib: number,
): Promise<string> {
  const head = `head -c ${sizeMib * 2 ** 20}`;
  // By its size, as not every protocol can end the input; the answer shows that all of it has arrived.
  const script = direction === "stdout" ? `${head} /dev/zero` : `${head} | wc -c`;
  const cmd = ["sh", "-c", script];
  const request = { containerId, cmd, stdin: direction === "stdin", stdout: true };
  return (await client.runtime.exec(request)).url;
}

async function spdyTransfer(url: string, direction: Direction, size: number): Promise<number> {
  const { head, status, socket } = await requestUpgrade(url, spdyHeaders("v4.channel.k8s.io"));
  if (status !== 101) throw new Error(`not upgraded: ${head}`);
  const encoder = new HeaderEncoder();
  for (const [type, streamId] of Object.entries(streamIds)) {
    if (type === "stdin" && direction === "stdout") continue;
    const rest = Buffer.concat([Buffer.alloc(2), encoder.encode(new Map([["streamtype", type]]))]);
    socket.write(encodeControl({ type: spdyFrameType.synStream, numbers: [streamId, 0], rest }));
  }
  if (direction === "stdin") {
    const frame = Buffer.concat([
      encodeDataHead(streamIds.stdin, chunkBytes, false),
      Buffer.alloc(chunkBytes),
    ]);
    void send(size, (done) => socket.write(frame, done));
  }
  const answer = await readSpdy(socket);
  socket.destroy();
  return direction === "stdout" ? answer.bytes : Number(answer.text);
}

interface Answer {
  bytes: number;
  /** Of a short answer. */
  text: string;
}

async function readSpdy(socket: Socket): Promise<Answer> {
  const reader = new SpdyFrameReader();
  const answer = { bytes: 0, text: "" };
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    for (const frame of reader.read(chunk)) {
      if (frame.kind !== "data") continue;
      if (frame.streamId === streamIds.stdout) take(answer, frame.payload);
      // The status comes last.
      if (frame.streamId === streamIds.error && frame.fin) return answer;
    }
  }
  return answer;
}

async function webSocketTransfer(url: string, direction: Direction, size: number): Promise<number> {
  const socket = new WebSocket(url.replace("http", "ws"), ["v4.channel.k8s.io"], {
    perMessageDeflate: false,
    skipUTF8Validation: true,
  });
  const answer = { bytes: 0, text: "" };
  socket.on("message", (data) => {
    const message = data as Buffer;
    if (message[0] === channel.stdout) take(answer, message.subarray(1));
  });
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.once("close", () => resolve());
    socket.once("open", () => {
      if (direction === "stdout") return;
      const message = Buffer.alloc(1 + chunkBytes);
      void send(size, (done) => socket.send(message, done));
    });
  });
  return direction === "stdout" ? answer.bytes : Number(answer.text);
}

/** A few chunks are on their way at any time, as from a client that writes as fast as it may. */
async function send(size: number, write: (done: () => void) => void): Promise<void> {
  const lanes = 8;
  let left = size;
  const lane = async (): Promise<void> => {
    while (left > 0) {
      left -= chunkBytes;
      await new Promise<void>((resolve) => write(resolve));
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

function take(answer: Answer, payload: Buffer): void {
  answer.bytes += payload.length;
  if (answer.bytes <= 64) answer.text += payload.toString();
}

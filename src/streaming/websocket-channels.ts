// Several streams over one WebSocket: the first byte of each message is the number of its channel (channel.k8s.io).
// The base64 variants send text: the channel as a digit, then the bytes in base64.
import { finished, Readable, Writable } from "node:stream";
import type { RawData, WebSocket } from "ws";
import { pingStalledClient } from "./stalled-client.ts";

export interface ChannelOptions {
  encoding: "binary" | "base64";
  channelCount: number;
  /** v5: a message of 255 and a channel's number ends that channel. */
  hasCloseMessage: boolean;
}

const closeMessage = 255;
const digitZero = 0x30;
const highWaterMark = 65_536;

/** The channel and the bytes of one message; undefined for what no client sends: it is skipped. */
export function decodeChannelMessage(
  message: Buffer,
  { encoding, channelCount, hasCloseMessage }: ChannelOptions,
): { channel: number; payload: Buffer } | { ended: number } | undefined {
  const first = message[0];
  if (first === undefined) return undefined;
  if (encoding === "base64") {
    const channel = first - digitZero;
    if (channel < 0 || channel >= channelCount) return undefined;
    return { channel, payload: Buffer.from(message.toString("latin1", 1), "base64") };
  }
  if (hasCloseMessage && first === closeMessage && message.length === 2) {
    const ended = message[1]!;
    return ended < channelCount ? { ended } : undefined;
  }
  return first < channelCount ? { channel: first, payload: message.subarray(1) } : undefined;
}

/** The message for some bytes of a channel. */
export function encodeChannelMessage(
  channel: number,
  parts: readonly Uint8Array[],
  encoding: "binary" | "base64",
): Buffer | string {
  if (encoding === "base64")
    return String.fromCharCode(digitZero + channel) + Buffer.concat(parts).toString("base64");
  return Buffer.concat([Buffer.of(channel), ...parts]);
}

export class WebSocketChannels {
  /** Aborted when the connection is closed, for whatever reason. */
  readonly gone: AbortSignal;
  readonly #socket: WebSocket;
  readonly #options: ChannelOptions;
  /** Those that have not ended. */
  readonly #inputs = new Map<number, Readable>();
  readonly #outputs: Writable[] = [];
  readonly #streams = new Set<Readable | Writable>();
  readonly #full = new Set<Readable>();
  #stopPings: () => void = () => {};
  #closing = false;

  constructor(socket: WebSocket, options: ChannelOptions) {
    this.#socket = socket;
    this.#options = options;
    const gone = new AbortController();
    this.gone = gone.signal;
    socket.on("message", (data: RawData) => this.#take(asBuffer(data)));
    // A broken connection closes, which is all there is to know.
    socket.on("error", () => {});
    socket.once("close", () => {
      gone.abort();
      this.#stopPings();
      for (const stream of this.#streams) stream.destroy();
    });
  }

  /** What the client sends on a channel. A channel without one is dropped. */
  input(channel: number): Readable {
    const input: Readable = new Readable({
      highWaterMark,
      read: () => this.#relieve(input),
      destroy: (error, done) => {
        this.#relieve(input);
        done(error);
      },
    });
    input.on("error", () => {});
    this.#inputs.set(channel, input);
    this.#streams.add(input);
    return input;
  }

  /** Ending it sends nothing: only closing the connection tells the client. */
  output(channel: number): Writable {
    const send = (parts: readonly Uint8Array[], done: (error?: Error | null) => void): void => {
      const message = encodeChannelMessage(channel, parts, this.#options.encoding);
      this.#socket.send(message, { binary: this.#options.encoding === "binary" }, done);
    };
    const output = new Writable({
      highWaterMark,
      write: (chunk: Buffer, _encoding, done) => send([chunk], done),
      writev: (chunks, done) =>
        send(
          chunks.map(({ chunk }) => chunk as Buffer),
          done,
        ),
    });
    output.on("error", () => {});
    this.#outputs.push(output);
    this.#streams.add(output);
    return output;
  }

  /** A message without bytes: it tells the client that the session stands. */
  announce(channel: number): void {
    const { encoding } = this.#options;
    this.#socket.send(encodeChannelMessage(channel, [], encoding), { binary: encoding === "binary" });
  }

  /** Says goodbye when all outputs have been sent; what still comes is dropped. */
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    for (const input of this.#inputs.values()) input.destroy();
    const sent = this.#outputs.map(
      (output) => new Promise<void>((resolve) => finished(output, () => resolve())),
    );
    for (const output of this.#outputs) output.end();
    void Promise.all(sent).then(() => this.#socket.close(1000));
  }

  #take(message: Buffer): void {
    const decoded = decodeChannelMessage(message, this.#options);
    if (decoded === undefined || this.#closing) return;
    if ("ended" in decoded) {
      this.#inputs.get(decoded.ended)?.push(null);
      this.#inputs.delete(decoded.ended);
      return;
    }
    const input = this.#inputs.get(decoded.channel);
    if (input === undefined || input.destroyed || decoded.payload.length === 0) return;
    if (input.push(decoded.payload)) return;
    if (this.#full.size === 0) {
      this.#socket.pause();
      this.#stopPings = pingStalledClient(() => this.#socket.ping());
    }
    this.#full.add(input);
  }

  #relieve(input: Readable): void {
    if (!this.#full.delete(input) || this.#full.size > 0) return;
    this.#stopPings();
    this.#socket.resume();
  }
}

function asBuffer(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}

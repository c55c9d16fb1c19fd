// A SPDY/3.1 connection over any byte stream: the socket of an upgraded request, or a WebSocket that tunnels it.
// Frames are handled one after the other, and the next one is not read before the last has found room.
import { finished, type Duplex } from "node:stream";
import { HeaderEncoder, HeaderInflater, type SpdyHeaders } from "./spdy-headers.ts";
import {
  bodyNumber,
  encodeControl,
  encodeDataHead,
  malformed,
  maxDataBytes,
  resetStatus,
  spdyFlag,
  spdyFrameType,
  SpdyFrameReader,
  type SpdyFrame,
} from "./spdy-frame.ts";
import { pingStalledClient } from "./stalled-client.ts";
import { SpdyStream, type StreamTransport } from "./spdy-stream.ts";

export interface SpdyOptions {
  role: "server" | "client";
  /** Decides about a stream that the other side opens: false refuses it. Not given: all are refused. */
  onStream?: (stream: SpdyStream) => boolean;
}

/** Streams that are open at once: a browser behind a port-forward opens pairs by the dozen. */
const maxStreams = 2048;
/** How long the other side may take to close after the last word. */
const lingerMs = 5_000;

export class SpdyConnection {
  /** Aborted when the connection is closed, for whatever reason. */
  readonly gone: AbortSignal;
  readonly #gone = new AbortController();
  readonly #transport: Duplex;
  readonly #onStream: (stream: SpdyStream) => boolean;
  readonly #isServer: boolean;
  readonly #streams = new Map<number, SpdyStream>();
  readonly #inflater = new HeaderInflater();
  readonly #encoder = new HeaderEncoder();
  readonly #ends: StreamTransport;
  #lastRemoteId = 0;
  #nextLocalId: number;
  #nextPingId: number;
  #closing = false;

  constructor(transport: Duplex, options: SpdyOptions) {
    this.gone = this.#gone.signal;
    this.#transport = transport;
    this.#isServer = options.role === "server";
    this.#onStream = options.onStream ?? (() => false);
    this.#nextLocalId = this.#isServer ? 2 : 1;
    this.#nextPingId = this.#nextLocalId;
    this.#ends = {
      sendData: (streamId, parts, fin, done) => this.#sendData(streamId, parts, fin, done),
      release: (stream, clean) => this.#release(stream, clean),
    };
    transport.on("error", () => {});
    // A client that has gone ends what it asked for at once. A server that has gone may have said everything before,
    // and some of it waits to be taken: then the end comes after that.
    transport.once("close", () => {
      if (this.#isServer || !transport.readableEnded) this.#end();
    });
    void this.#run();
  }

  /** Opens a stream of this side; of a connection that is gone it is over at once. */
  openStream(headers: SpdyHeaders): SpdyStream {
    const streamId = this.#nextLocalId;
    this.#nextLocalId += 2;
    const stream = new SpdyStream(streamId, headers, this.#ends);
    this.#streams.set(streamId, stream);
    // Associated stream 0, then priority and slot.
    const rest = Buffer.concat([Buffer.alloc(2), this.#encoder.encode(headers)]);
    this.#send(encodeControl({ type: spdyFrameType.synStream, numbers: [streamId, 0], rest }));
    if (this.#gone.signal.aborted) stream.disconnect();
    return stream;
  }

  /**
   * Ends all streams, says goodbye and closes once everything is sent. What still comes is read and dropped until the
   * other side closes too: closing a socket with unread bytes resets it, and the other side would lose what it has not
   * read yet.
   */
  close(): void {
    if (this.#closing || this.#transport.destroyed) return;
    this.#closing = true;
    const streams = [...this.#streams.values()];
    const ended = streams.map(
      (stream) => new Promise<void>((resolve) => finished(stream, { readable: false }, () => resolve())),
    );
    for (const stream of streams) stream.resume().end();
    void Promise.all(ended).then(() => this.#sayGoodbye());
  }

  #sayGoodbye(): void {
    this.#send(encodeControl({ type: spdyFrameType.goAway, numbers: [this.#lastRemoteId, 0] }));
    this.#transport.end();
    const timer = setTimeout(() => this.destroy(), lingerMs);
    this.gone.addEventListener("abort", () => clearTimeout(timer), { once: true });
    for (const stream of this.#streams.values()) stream.abandon();
  }

  destroy(): void {
    this.#transport.destroy();
    if (this.#transport.closed) this.#end();
  }

  async #run(): Promise<void> {
    const reader = new SpdyFrameReader();
    try {
      for await (const chunk of this.#transport.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>)
        for (const frame of reader.read(chunk)) await this.#take(frame);
    } catch {
      // Broken by the peer or its network: whoever has a stream of it sees that it is gone.
    }
    this.destroy();
  }

  #end(): void {
    if (this.#gone.signal.aborted) return;
    this.#inflater.close();
    this.#gone.abort();
    for (const stream of this.#streams.values()) stream.disconnect();
  }

  async #take(frame: SpdyFrame): Promise<void> {
    if (frame.kind === "control") return this.#takeControl(frame.type, frame.flags, frame.body);
    if (this.#closing) return;
    // Data of a stream that this side has given up may be on its way still: dropped.
    const room = this.#streams.get(frame.streamId)?.receive(frame.payload, frame.fin);
    if (room !== undefined) await this.#stalled(room);
  }

  async #stalled(room: Promise<void>): Promise<void> {
    const stop = pingStalledClient(() => {
      // Even numbers are the server's, odd ones the client's: each answers the other's only.
      this.#send(encodeControl({ type: spdyFrameType.ping, numbers: [this.#nextPingId] }));
      this.#nextPingId += 2;
    });
    try {
      await room;
    } finally {
      stop();
    }
  }

  async #takeControl(type: number, flags: number, body: Buffer): Promise<void> {
    switch (type) {
      case spdyFrameType.synStream:
        return this.#accept(flags, body);
      case spdyFrameType.synReply:
      case spdyFrameType.headers:
        bodyNumber(body, 0, "reply");
        await this.#inflater.decode(body.subarray(4));
        if ((flags & spdyFlag.fin) !== 0)
          void this.#streams.get(body.readUInt32BE(0))?.receive(Buffer.alloc(0), true);
        return;
      case spdyFrameType.reset:
        this.#streams.get(bodyNumber(body, 0, "reset"))?.abandon();
        return;
      case spdyFrameType.ping:
        return this.#answerPing(bodyNumber(body, 0, "ping"));
      default:
        // GOAWAY is followed by the end of the connection; the rest is about windows nobody has.
        return;
    }
  }

  async #accept(flags: number, body: Buffer): Promise<void> {
    const streamId = bodyNumber(body, 0, "stream");
    if (body.length < 10) throw malformed(`a stream frame of ${body.length} bytes`);
    const headers = await this.#inflater.decode(body.subarray(10));
    const isTheirs = streamId % 2 === (this.#isServer ? 1 : 0);
    if (!isTheirs || streamId <= this.#lastRemoteId) throw malformed(`stream ${streamId} out of order`);
    this.#lastRemoteId = streamId;
    if (this.#closing) return;
    if (this.#streams.size >= maxStreams) return this.#reset(streamId, resetStatus.refusedStream);
    const stream = new SpdyStream(streamId, headers, this.#ends);
    this.#streams.set(streamId, stream);
    if (!this.#onStream(stream)) {
      this.#streams.delete(streamId);
      stream.abandon();
      return this.#reset(streamId, resetStatus.refusedStream);
    }
    const rest = this.#encoder.encode(new Map());
    this.#send(encodeControl({ type: spdyFrameType.synReply, numbers: [streamId], rest }));
    if ((flags & spdyFlag.fin) !== 0) void stream.receive(Buffer.alloc(0), true);
  }

  #answerPing(id: number): void {
    const isTheirs = id % 2 === (this.#isServer ? 1 : 0);
    if (isTheirs) this.#send(encodeControl({ type: spdyFrameType.ping, numbers: [id] }));
  }

  #reset(streamId: number, status: number): void {
    this.#send(encodeControl({ type: spdyFrameType.reset, numbers: [streamId, status] }));
  }

  #release(stream: SpdyStream, clean: boolean): void {
    if (this.#streams.get(stream.streamId) !== stream) return;
    this.#streams.delete(stream.streamId);
    if (!clean && !this.#closing) this.#reset(stream.streamId, resetStatus.cancel);
  }

  #send(bytes: Buffer): void {
    if (this.#transport.writable) this.#transport.write(bytes);
  }

  #sendData(
    streamId: number,
    parts: readonly Buffer[],
    fin: boolean,
    done: (error?: Error | null) => void,
  ): void {
    const transport = this.#transport;
    if (!transport.writable) {
      done(malformed("the connection is closed"));
      return;
    }
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    if (length > maxDataBytes) {
      done(malformed(`${length} bytes in one frame`));
      return;
    }
    transport.cork();
    const head = encodeDataHead(streamId, length, fin);
    if (length === 0) transport.write(head, done);
    else {
      transport.write(head);
      parts.forEach((part, index) => transport.write(part, index === parts.length - 1 ? done : undefined));
    }
    transport.uncork();
  }
}

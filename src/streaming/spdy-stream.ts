// One stream of a SPDY connection. Reading it is what lets the connection go on: SPDY as its clients here speak it
// has no windows, so a reader that is slow holds up the socket, and with it the client.
import { Duplex } from "node:stream";
import type { SpdyHeaders } from "./spdy-headers.ts";

/** What a stream asks of its connection. */
export interface StreamTransport {
  /** Sends one DATA frame made of `parts`; `done` is called when the socket has taken it, or with its failure. */
  sendData(
    streamId: number,
    parts: readonly Buffer[],
    fin: boolean,
    done: (error?: Error | null) => void,
  ): void;
  /** The stream is over; `clean`: both directions were ended. */
  release(stream: SpdyStream, clean: boolean): void;
}

const highWaterMark = 65_536;

export class SpdyStream extends Duplex {
  readonly streamId: number;
  readonly headers: SpdyHeaders;
  readonly #transport: StreamTransport;
  #wake: (() => void) | undefined;
  #remoteEnded = false;
  #localEnded = false;
  #disconnected = false;

  constructor(streamId: number, headers: SpdyHeaders, transport: StreamTransport) {
    super({ highWaterMark, allowHalfOpen: true });
    this.streamId = streamId;
    this.headers = headers;
    this.#transport = transport;
    // A client that goes away destroys its streams; nobody needs to listen for that.
    this.on("error", () => {});
  }

  /** Takes data of the client. Undefined, or what to wait for before more may come. */
  receive(payload: Buffer, fin: boolean): Promise<void> | undefined {
    if (this.#remoteEnded || this.destroyed) return undefined;
    const hasRoom = payload.length === 0 || this.push(payload);
    if (fin) {
      this.#remoteEnded = true;
      this.push(null);
    }
    if (hasRoom || fin) return undefined;
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** The other side has reset the stream. */
  abandon(): void {
    this.#remoteEnded = true;
    this.#localEnded = true;
    this.destroy();
  }

  /** The connection is gone. What came before, up to the end of this stream, can still be read. */
  disconnect(): void {
    const hasAll = this.#remoteEnded && !this.readableEnded;
    if (!hasAll) return this.abandon();
    this.#localEnded = true;
    this.#disconnected = true;
    this.end();
  }

  override _read(): void {
    this.#relieve();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#transport.sendData(this.streamId, [chunk], false, done);
  }

  override _writev(chunks: readonly { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#transport.sendData(
      this.streamId,
      chunks.map(({ chunk }) => chunk),
      false,
      done,
    );
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#localEnded = true;
    if (this.#disconnected) return done();
    this.#transport.sendData(this.streamId, [], true, done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#relieve();
    this.#transport.release(this, this.#localEnded && this.#remoteEnded);
    done(error);
  }

  #relieve(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

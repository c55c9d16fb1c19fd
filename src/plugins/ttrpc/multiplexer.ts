// Several connections over one socket, as NRI does it (pkg/net/multiplex): number of the connection and length in eight
// bytes, big-endian, then the payload. Opening one is not signalled: both sides know the numbers.
import type { Duplex } from "node:stream";
import { CricketError } from "../../base/errors.ts";
import { ByteQueue, frameHeaderBytes, maxMessageBytes } from "./frame.ts";

const headerBytes = 8;
const maxPayloadBytes = frameHeaderBytes + maxMessageBytes;
/** Who asks and asks and does not read the answers is cut off. */
const maxQueuedBytes = 4 * maxPayloadBytes;

/**
 * The reader of a Go plugin looks into a connection with a buffer of this size (bufio) and gives up (ENOMEM) when a
 * payload does not fit it; only the rest of a message may be as long as it likes, because that is read in place.
 */
const firstPayloadBytes = 4096;

export interface MuxPayload {
  connection: number;
  payload: Buffer;
}

/** Takes payloads out of the bytes of the socket. */
export class PayloadReader {
  readonly #queue = new ByteQueue();

  /** @throws CricketError invalid-argument for a length beyond the limit */
  push(chunk: Buffer): MuxPayload[] {
    this.#queue.push(chunk);
    const payloads: MuxPayload[] = [];
    while (this.#queue.length >= headerBytes) {
      const header = this.#queue.peek(headerBytes);
      const length = header.readUInt32BE(4);
      if (length > maxPayloadBytes)
        throw new CricketError("invalid-argument", `multiplexed payload of ${length} bytes: too long`);
      if (this.#queue.length < headerBytes + length) break;
      const connection = header.readUInt32BE(0);
      this.#queue.take(headerBytes);
      payloads.push({ connection, payload: this.#queue.take(length) });
    }
    return payloads;
  }
}

/** One ttrpc message, in the pieces that a Go plugin can read. */
export function encodePayloads(connection: number, frame: Buffer): Buffer[] {
  const pieces = [frame.subarray(0, firstPayloadBytes), frame.subarray(firstPayloadBytes)];
  return pieces
    .filter((piece) => piece.length > 0)
    .flatMap((piece) => {
      const header = Buffer.allocUnsafe(headerBytes);
      header.writeUInt32BE(connection, 0);
      header.writeUInt32BE(piece.length, 4);
      return [header, piece];
    });
}

/** One end of a multiplexed connection. */
export interface Channel {
  /** Sends one whole ttrpc frame. */
  send(frame: Buffer): void;
}

/** What arrives on one of the connections. A throw ends the socket. */
export type ChannelReader = (payload: Buffer) => void;

export class Multiplexer {
  readonly #socket: Duplex;
  readonly #readers = new Map<number, ChannelReader>();
  readonly #payloads = new PayloadReader();
  readonly #onClose: (reason: Error) => void;
  #closed = false;

  /** Reads nothing before `start`. */
  constructor(socket: Duplex, onClose: (reason: Error) => void) {
    this.#socket = socket;
    this.#onClose = onClose;
    socket.on("error", (error) => this.close(error));
    socket.on("close", () => this.close(closed()));
    socket.on("end", () => this.close(closed()));
  }

  /** Payloads of connections nobody opened are dropped, as every peer does. */
  open(connection: number, reader: ChannelReader): Channel {
    this.#readers.set(connection, reader);
    return {
      send: (frame) => {
        if (this.#closed) return;
        this.#socket.cork();
        for (const piece of encodePayloads(connection, frame)) this.#socket.write(piece);
        this.#socket.uncork();
        // Not reading from who does not read would be a deadlock where both have much to say.
        if (this.#socket.writableLength > maxQueuedBytes)
          this.close(new CricketError("unavailable", "the other side does not read"));
      },
    };
  }

  start(): void {
    this.#socket.on("data", (chunk: Buffer) => {
      if (this.#closed) return;
      try {
        for (const { connection, payload } of this.#payloads.push(chunk)) {
          this.#readers.get(connection)?.(payload);
          if (this.#closed) return;
        }
      } catch (error) {
        this.close(error as Error);
      }
    });
  }

  close(reason: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.destroy();
    this.#onClose(reason);
  }
}

function closed(): CricketError {
  return new CricketError("unavailable", "connection closed");
}

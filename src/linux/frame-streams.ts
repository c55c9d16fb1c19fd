// Standard streams over a control socket, for attach clients and streaming execs.
import { Readable, Writable } from "node:stream";
import type { ControlConnection } from "./control-connection.ts";
import { type Frame, frameType, maxFramePayloadBytes } from "./frames.ts";

/** stdin accepts until it is ended, which closes the program's stdin; stdout and stderr end with the connection. */
export class FrameStreams {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly #connection: ControlConnection;
  /** Streams whose reader has not caught up: the socket is not read meanwhile, which holds up the program. */
  readonly #full = new Set<Readable>();

  constructor(connection: ControlConnection) {
    this.#connection = connection;
    this.stdin = new Writable({
      write: (chunk: Buffer, _encoding, done) => this.#write(chunk, done),
      final: (done) => {
        connection.send(frameType.stdinEof);
        done();
      },
    });
    this.stdout = this.#output();
    this.stderr = this.#output();
  }

  /** True when the frame was output. */
  take(frame: Frame): boolean {
    if (frame.type === frameType.stdout) this.#push(this.stdout, frame.payload);
    else if (frame.type === frameType.stderr) this.#push(this.stderr, frame.payload);
    else return false;
    return true;
  }

  /** Ends all streams: nothing more will come. */
  end(): void {
    for (const output of [this.stdout, this.stderr]) if (!output.destroyed) output.push(null);
    this.stdin.destroy();
  }

  #output(): Readable {
    const output: Readable = new Readable({
      read: () => this.#relieve(output),
      // Nobody reads any more: the output is dropped and must not stop the other stream.
      destroy: (error, done) => {
        this.#relieve(output);
        done(error);
      },
    });
    return output;
  }

  #push(output: Readable, payload: Buffer): void {
    if (output.destroyed || payload.length === 0) return;
    // Not copied: a reader that is slow keeps the socket's last read buffer alive, and then nothing more is read.
    if (output.push(payload)) return;
    this.#full.add(output);
    this.#connection.pause();
  }

  #relieve(output: Readable): void {
    if (this.#full.delete(output) && this.#full.size === 0) this.#connection.resume();
  }

  #write(chunk: Buffer, done: () => void): void {
    let at = 0;
    for (; at + maxFramePayloadBytes < chunk.length; at += maxFramePayloadBytes)
      this.#connection.send(frameType.stdin, chunk.subarray(at, at + maxFramePayloadBytes));
    this.#connection.send(frameType.stdin, chunk.subarray(at), done);
  }
}

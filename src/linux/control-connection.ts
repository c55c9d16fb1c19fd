// One end of a control socket: frames in, frames out. Shared by monitors, execs and attach clients.
import type { Socket } from "node:net";
import { type Frame, FrameReader, encodeFrameHead } from "./frames.ts";

const nothing = new Uint8Array(0);

export interface ControlHandler {
  onFrame(frame: Frame): void;
  /** Called once; no frame follows. `error` is set when the other side broke the protocol. */
  onClose(error: Error | undefined): void;
}

export class ControlConnection {
  readonly #socket: Socket;
  #handler: ControlHandler;
  #failure: Error | undefined;
  /** By type: a frame that the socket has not taken yet, and the payload of the one to send then. */
  readonly #underWay = new Map<number, Uint8Array | undefined>();

  constructor(socket: Socket, handler: ControlHandler) {
    this.#socket = socket;
    this.#handler = handler;
    const reader = new FrameReader();
    socket.on("data", (chunk: Buffer) => this.#take(reader, chunk));
    // What matters is that it closed; the reason (EPIPE, ECONNRESET) is only that the other side has ended.
    socket.on("error", () => {});
    socket.on("close", () => this.#handler.onClose(this.#failure));
  }

  setHandler(handler: ControlHandler): void {
    this.#handler = handler;
  }

  /** `onWritten` is called when the socket has taken the frame, or will never. */
  send(type: number, payload: Uint8Array = nothing, onWritten?: () => void): void {
    if (this.#socket.destroyed) {
      if (onWritten !== undefined) queueMicrotask(onWritten);
      return;
    }
    // The payload goes as it is: input may be gigabytes.
    const head = encodeFrameHead(type, payload.length);
    this.#socket.cork();
    this.#socket.write(head, payload.length === 0 ? () => onWritten?.() : undefined);
    if (payload.length > 0) this.#socket.write(payload, () => onWritten?.());
    this.#socket.uncork();
  }

  /** For what only the last frame of counts: those that the other side is too slow for are left out. */
  sendLatest(type: number, payload: Uint8Array): void {
    if (this.#underWay.has(type)) {
      this.#underWay.set(type, payload);
      return;
    }
    this.#underWay.set(type, undefined);
    this.send(type, payload, () => {
      const next = this.#underWay.get(type);
      this.#underWay.delete(type);
      if (next !== undefined) this.sendLatest(type, next);
    });
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(reader: FrameReader, chunk: Buffer): void {
    try {
      for (const frame of reader.push(chunk)) this.#handler.onFrame(frame);
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
      this.#socket.destroy();
    }
  }
}

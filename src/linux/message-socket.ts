// One end of a SOCK_SEQPACKET pair: whole messages, each with the descriptors that came with it.
import koffi from "koffi";
import { close } from "./files.ts";
import { receiveMessage, sendDescriptors } from "./sockets.ts";

export interface MessageHandler {
  /** The descriptors, close-on-exec, are the handler's. */
  onMessage: (bytes: Buffer, descriptors: readonly number[]) => void;
  /** Once: the other end is closed, or what it sent cannot be read. Not after `close`. */
  onClose: (error?: Error) => void;
}

const maxMessageBytes = 64 * 1024;

export class MessageSocket {
  readonly #fd: number;
  readonly #handler: MessageHandler;
  readonly #poll: { stop: () => void; close: () => void };
  #closed = false;

  /** Owns the socket from here on. */
  constructor(fd: number, handler: MessageHandler) {
    this.#fd = fd;
    this.#handler = handler;
    this.#poll = koffi.node.poll(fd, { readable: true }, () => this.#read());
  }

  /** @throws SyscallError, EPIPE when the other end is closed */
  send(bytes: Uint8Array): void {
    sendDescriptors(this.#fd, bytes, []);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#poll.stop();
    this.#poll.close();
    close(this.#fd);
  }

  #read(): void {
    while (!this.#closed) {
      try {
        const message = receiveMessage(this.#fd, maxMessageBytes);
        if (message === "empty") return;
        if (message === "closed") return this.#end();
        this.#handler.onMessage(message.bytes, message.descriptors);
      } catch (error) {
        return this.#end(error as Error);
      }
    }
  }

  #end(error?: Error): void {
    if (this.#closed) return;
    this.close();
    this.#handler.onClose(error);
  }
}

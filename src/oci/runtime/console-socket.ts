// The other end of --console-socket: it gets the master of the terminal.
import { wrapError } from "../../base/errors.ts";
import { close } from "../../linux/files.ts";
import { connectUnix } from "../../linux/gate.ts";
import { sendDescriptors } from "../../linux/sockets.ts";

/** Connected before anything is made, so that a wrong path costs nothing. */
export class ConsoleSocket implements Disposable {
  readonly #fd: number;

  /** None where no path is given. */
  static open(path: string | undefined): ConsoleSocket | undefined {
    return path === undefined ? undefined : new ConsoleSocket(path);
  }

  constructor(path: string) {
    try {
      this.#fd = connectUnix(path);
    } catch (error) {
      throw wrapError(`--console-socket ${path}`, error);
    }
  }

  /** The name is for people; receivers look at the descriptor. */
  send(master: number): void {
    sendDescriptors(this.#fd, Buffer.from("/dev/ptmx"), [master]);
  }

  [Symbol.dispose](): void {
    close(this.#fd);
  }
}

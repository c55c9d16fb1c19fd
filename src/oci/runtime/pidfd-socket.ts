// The other end of --pidfd-socket: it gets a pidfd of the process, which cannot become somebody else's as a pid can.
import { wrapError } from "../../base/errors.ts";
import { close } from "../../linux/files.ts";
import { connectUnix } from "../../linux/gate.ts";
import { sendDescriptors } from "../../linux/sockets.ts";

/** Connected before anything is made, so that a wrong path costs nothing. */
export class PidfdSocket implements Disposable {
  readonly #fd: number;

  /** None where no path is given. */
  static open(path: string | undefined): PidfdSocket | undefined {
    return path === undefined ? undefined : new PidfdSocket(path);
  }

  private constructor(path: string) {
    try {
      this.#fd = connectUnix(path);
    } catch (error) {
      throw wrapError(`--pidfd-socket ${path}`, error);
    }
  }

  /** `kind`, as runc names it: of a container's first process, or of one that was executed in it. */
  send(pidfd: number, kind: "standard" | "setns"): void {
    sendDescriptors(this.#fd, Buffer.from(kind), [pidfd]);
  }

  [Symbol.dispose](): void {
    close(this.#fd);
  }
}

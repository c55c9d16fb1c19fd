// One request to a `criu swrk` at the other end of a socket, and the notifications it sends meanwhile. It waits for the
// answer to each, and gives up in good order when there is none: nothing is lost with whoever asked.
import { CricketError, errnoOf, messageOf } from "../../base/errors.ts";
import { close } from "../../linux/files.ts";
import { MessageSocket } from "../../linux/message-socket.ts";
import { createSocketPair } from "../../linux/sockets.ts";
import {
  criuType,
  decodeResponse,
  encodeNotified,
  encodeRequest,
  type CriuMessageOptions,
  type CriuResponse,
} from "./criu-message.ts";

export interface CriuNotification {
  /** The name of the moment: "post-dump", "setup-namespaces". */
  script: string;
  /** Of "setup-namespaces" and "post-restore": the first process. */
  pid: number | undefined;
  /** Of "orphan-pts-master": the master, which is the handler's to close. */
  descriptor: number | undefined;
}

export interface CriuCall {
  type: keyof typeof criuType;
  options: CriuMessageOptions;
  /** When it rejects, criu gives up: a dump lets the container go on, a restore kills what it has made. */
  onNotify: (notification: CriuNotification) => Promise<void>;
}

/** criu has failed; `said` is the first error of its log, where it tells that. */
export class CriuFailure extends CricketError {
  readonly said: string;

  constructor(message: string, said: string, options: { cause?: unknown } = {}) {
    super("internal", message, options);
    this.said = said;
  }
}

const noAnswer = "criu ended without an answer";

export class CriuSession implements Disposable {
  /** For criu, as its descriptor 3; closed when criu has been started. */
  readonly theirs: number;
  readonly #ours: number;
  #socket: MessageSocket | undefined;
  #isTheirsOpen = true;
  #isOursOpen = true;
  #failure: unknown;

  constructor() {
    [this.#ours, this.theirs] = createSocketPair("seqpacket");
  }

  /** After criu has been started: from here on its end is seen. */
  closeTheirs(): void {
    if (this.#isTheirsOpen) close(this.theirs);
    this.#isTheirsOpen = false;
  }

  /** What made a notification's handler reject, if one did. */
  get failure(): unknown {
    return this.#failure;
  }

  /**
   * Resolves with the pid of a restore. May be called before criu is there.
   * @throws what a handler threw, else CriuFailure
   */
  call({ type, options, onNotify }: CriuCall): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      const finish = (response: CriuResponse): void => {
        this[Symbol.dispose]();
        if (this.#failure !== undefined) reject(this.#failure as Error);
        else if (response.success) resolve(response.pid);
        else reject(new CriuFailure(`criu ${type}: errno ${response.errno}`, response.message));
      };
      this.#isOursOpen = false;
      const socket = new MessageSocket(this.#ours, {
        onMessage: (bytes, descriptors) => {
          try {
            const response = decodeResponse(bytes);
            if (response.notify === undefined) finish(response);
            else void this.#answer(response.notify, descriptors, onNotify);
          } catch (error) {
            this[Symbol.dispose]();
            reject(error as Error);
          }
        },
        onClose: (error) =>
          reject((this.#failure ?? new CriuFailure(noAnswer, "", { cause: error })) as Error),
      });
      this.#socket = socket;
      try {
        socket.send(encodeRequest(criuType[type], options));
      } catch (error) {
        this[Symbol.dispose]();
        const isGone = errnoOf(error) === "EPIPE";
        reject(isGone ? new CriuFailure(noAnswer, "", { cause: error }) : (error as Error));
      }
    });
  }

  async #answer(
    notify: { script: string; pid: number | undefined },
    descriptors: readonly number[],
    onNotify: CriuCall["onNotify"],
  ): Promise<void> {
    const [descriptor, ...others] = descriptors;
    for (const fd of others) close(fd);
    let success = true;
    try {
      await onNotify({ ...notify, descriptor });
    } catch (error) {
      this.#failure ??= error;
      success = false;
    }
    try {
      this.#socket?.send(encodeNotified(success));
    } catch (error) {
      // It has ended meanwhile, which its end of the socket tells.
      this.#failure ??= new CriuFailure(`criu is gone: ${messageOf(error)}`, "");
    }
  }

  [Symbol.dispose](): void {
    this.closeTheirs();
    this.#socket?.close();
    if (this.#isOursOpen) close(this.#ours);
    this.#isOursOpen = false;
  }
}

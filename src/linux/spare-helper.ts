// A helper that is started before it is needed and waits for its program (pause/spare.c): posix_spawn(3) and the start
// of cricket-init are then no part of a launch.
import { Socket } from "node:net";
import { encodeSpare } from "./encode-program.ts";
import { close } from "./files.ts";
import { createSealedMemfd } from "./memfd.ts";
import { posixSpawn } from "./posix-spawn.ts";
import { reapSoon } from "./reap.ts";
import { createSocketPair } from "./sockets.ts";

// Where launches follow each other faster, the start of a spare one would only hold the next one up.
const restMs = 10;

export interface WaitingHelper {
  /** A child of this process. */
  pid: number;
  control: Socket;
  /** The descriptor of `control`, whose it stays. */
  controlFd: number;
}

/** The descriptors of cricket-init and /dev/null, which stay the caller's. */
export interface HelperDescriptors {
  readonly initFd: number;
  readonly nullFd: number;
}

export class SpareHelper {
  readonly #descriptors: HelperDescriptors;
  readonly #program: number;
  #waiting: WaitingHelper | undefined;
  #refill: NodeJS.Timeout | undefined;
  #closed = false;

  /** Starts the first. Throws SyscallError. */
  constructor(descriptors: HelperDescriptors) {
    this.#descriptors = descriptors;
    this.#program = createSealedMemfd("cricket-program", encodeSpare());
    this.#start();
  }

  /** The one that waits, the caller's from here on; another is started when there were no launches for a moment. */
  take(): WaitingHelper | undefined {
    const taken = this.#waiting;
    this.#waiting = undefined;
    taken?.control.ref();
    clearTimeout(this.#refill);
    this.#refill = setTimeout(() => this.#tryStart(), restMs).unref();
    return taken;
  }

  /** The one that waits ends. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#refill);
    close(this.#program);
    this.#waiting?.control.destroy();
  }

  #tryStart(): void {
    if (this.#closed) return;
    try {
      this.#start();
    } catch {
      // The next launch starts its own, and says what is wrong.
    }
  }

  #start(): void {
    const waiting = start(this.#descriptors, this.#program);
    waiting.control.on("error", () => {});
    waiting.control.once("close", () => {
      // Else it is somebody else's, who reaps it.
      if (this.#waiting !== waiting) return;
      this.#waiting = undefined;
      reapSoon(waiting.pid);
    });
    this.#waiting = waiting;
  }
}

function start({ initFd, nullFd }: HelperDescriptors, program: number): WaitingHelper {
  const [own, theirs] = createSocketPair("stream");
  try {
    const pid = posixSpawn(initFd, [nullFd, nullFd, nullFd, theirs, program], []);
    const control = new Socket({ fd: own, readable: true, writable: true });
    return { pid, control: control.unref(), controlFd: own };
  } catch (error) {
    close(own);
    throw error;
  } finally {
    close(theirs);
  }
}

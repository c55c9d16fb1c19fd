// The pause process of a sandbox: holds its namespaces. Known by pidfd, so a reused pid is never mistaken for it.
import type { ProcessIdentity } from "./sandbox-record.ts";
import { close } from "../linux/files.ts";
import { openSameProcess, signalPidfd, watchPidfd } from "../linux/pidfd.ts";
import { reapSoon } from "../linux/reap.ts";

const SIGKILL = 9;

export class PauseProcess {
  readonly identity: ProcessIdentity;
  readonly pidfd: number;
  readonly #watch: { stop: () => void };
  readonly #gone: Promise<void>;
  #alive = true;

  /** Takes over `pidfd`. `onDeath` is called once, when the process has ended for whatever reason. */
  constructor(identity: ProcessIdentity, pidfd: number, onDeath: () => void) {
    this.identity = identity;
    this.pidfd = pidfd;
    let settle: () => void = () => {};
    this.#gone = new Promise((resolve) => {
      settle = resolve;
    });
    this.#watch = watchPidfd(pidfd, () => {
      this.#alive = false;
      reapSoon(identity.pid);
      settle();
      onDeath();
    });
  }

  /** After a daemon restart: undefined when the process is gone or its pid belongs to another process by now. */
  static reopen(identity: ProcessIdentity, onDeath: () => void): PauseProcess | undefined {
    const pidfd = openSameProcess(identity.pid, identity.startTimeTicks);
    return pidfd === undefined ? undefined : new PauseProcess(identity, pidfd, onDeath);
  }

  get isAlive(): boolean {
    return this.#alive;
  }

  /** SIGKILL, and waits until the process has ended. */
  async kill(): Promise<void> {
    if (this.#alive) signalPidfd(this.pidfd, SIGKILL);
    await this.#gone;
  }

  /** Releases the descriptor; the process is not touched. */
  close(): void {
    this.#watch.stop();
    close(this.pidfd);
  }
}

// Removes veth pairs beside the work that asked for it. The kernel takes tens of milliseconds for one, all of it
// waiting (for readers of its tables on every processor), and nobody needs the end of it but the pod's address.
import { messageOf } from "../base/errors.ts";
import { shortId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import { deleteLink } from "../linux/netlink-route.ts";
import type { NetlinkSocket } from "../linux/netlink-socket.ts";

export class LinkRemovals {
  readonly #socket: NetlinkSocket;
  readonly #log: Log;
  readonly #underWay = new Map<string, Promise<void>>();

  /** `socket` is used for nothing else: what waits behind a removal waits long. */
  constructor(socket: NetlinkSocket, log: Log) {
    this.#socket = socket;
    this.#log = log;
  }

  get isIdle(): boolean {
    return this.#underWay.size === 0;
  }

  has(sandboxId: string): boolean {
    return this.#underWay.has(sandboxId);
  }

  /** Starts the removal; `afterwards` runs when the link is gone. A failure is logged, and `recover` tries again. */
  start(sandboxId: string, linkIndex: number, afterwards: () => void): void {
    if (this.#underWay.has(sandboxId)) return;
    const removal = this.#socket
      // ENODEV: the pod's namespace ended in the meantime and took the pair along.
      .request([deleteLink({ index: linkIndex })], ["ENODEV"])
      .then(afterwards)
      .catch((error: unknown) =>
        this.#log.warn("pod link not removed", { sandbox: shortId(sandboxId), error: messageOf(error) }),
      )
      .finally(() => this.#underWay.delete(sandboxId));
    this.#underWay.set(sandboxId, removal);
  }

  /** Resolves when no removal is under way. */
  async settle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay.values());
  }
}

// GetContainerEvents: what happens to sandboxes and containers, told to whoever listens, in the order in which it
// happened. An event holds the records as they were at that moment; since records are replaced and never changed, that
// costs a few references, and nothing at all while nobody listens.
import { CricketError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { ContainerRecord, ContainerState } from "../container/container-record.ts";
import type { LifecycleChange } from "../sandbox/lifecycle-change.ts";
import type { SandboxRecord } from "../sandbox/sandbox-record.ts";
import { EventQueue } from "./event-queue.ts";

/** A sandbox at the moment of an event. */
export interface SandboxMoment {
  readonly record: SandboxRecord;
  readonly isReady: boolean;
}

export interface ContainerMoment {
  readonly record: ContainerRecord;
  readonly state: ContainerState;
}

export interface LifecycleEvent {
  /** Id of the container or sandbox it happened to. */
  objectId: string;
  change: LifecycleChange;
  /** Wall clock; strictly increasing from event to event. */
  createdAtNs: bigint;
  /** The pod; absent for a container whose sandbox is gone. */
  sandbox?: SandboxMoment;
  /** All containers of the pod, a deleted one no more. */
  containers: readonly ContainerMoment[];
}

export interface EventParts {
  sandboxOf(id: string): SandboxMoment | undefined;
  /** Containers of the sandbox that are listed. */
  containersOf(sandboxId: string): readonly ContainerMoment[];
  log: Log;
  /** How far a subscriber may fall behind, in events. */
  queueLimit?: number;
}

/** A node that starts all its pods at once makes some hundred events; a live subscriber takes them in milliseconds. */
const defaultQueueLimit = 1000;

export class LifecycleEvents {
  readonly #parts: EventParts;
  readonly #subscribers = new Set<EventQueue<LifecycleEvent>>();
  #lastNs = 0n;

  constructor(parts: EventParts) {
    this.#parts = parts;
  }

  /** Everything that happens from now on. Disposing the queue ends the subscription. */
  subscribe(): EventQueue<LifecycleEvent> {
    const queue: EventQueue<LifecycleEvent> = new EventQueue(
      this.#parts.queueLimit ?? defaultQueueLimit,
      () => this.#subscribers.delete(queue),
    );
    this.#subscribers.add(queue);
    return queue;
  }

  ofSandbox(sandbox: SandboxMoment, change: LifecycleChange): void {
    if (this.#subscribers.size === 0) return;
    this.#publish(sandbox.record.id, change, momentOfSandbox(sandbox));
  }

  ofContainer(container: ContainerMoment, change: LifecycleChange): void {
    if (this.#subscribers.size === 0) return;
    const { id, sandboxId } = container.record;
    const sandbox = this.#parts.sandboxOf(sandboxId);
    this.#publish(id, change, sandbox === undefined ? undefined : momentOfSandbox(sandbox), sandboxId);
  }

  /**
   * The clock of the events: the kubelet drops a status whose time is before that of an event it has seen, so statuses
   * are stamped from here as well.
   */
  nowNs(): bigint {
    const now = BigInt(Date.now()) * 1_000_000n;
    this.#lastNs = now > this.#lastNs ? now : this.#lastNs + 1n;
    return this.#lastNs;
  }

  /** Ends all subscriptions, so that the server need not wait for calls that would never end. */
  close(): void {
    for (const queue of this.#subscribers)
      queue.fail(new CricketError("unavailable", "the daemon is stopping"));
    this.#subscribers.clear();
  }

  #publish(
    objectId: string,
    change: LifecycleChange,
    sandbox: SandboxMoment | undefined,
    sandboxId: string = objectId,
  ): void {
    const event: LifecycleEvent = {
      objectId,
      change,
      createdAtNs: this.nowNs(),
      ...(sandbox === undefined ? {} : { sandbox }),
      containers: this.#parts.containersOf(sandboxId).map(({ record, state }) => ({ record, state })),
    };
    for (const queue of this.#subscribers) {
      if (queue.push(event)) continue;
      this.#subscribers.delete(queue);
      this.#parts.log.warn("event subscriber dropped", { reason: "too far behind" });
    }
  }
}

// Only the record is immutable: of the object around it the event needs what it says now.
function momentOfSandbox({ record, isReady }: SandboxMoment): SandboxMoment {
  return { record, isReady };
}

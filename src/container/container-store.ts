// All containers of this node in memory; the records on disk are the truth behind them.
import { notFound } from "../base/errors.ts";
import { findByPrefix } from "../base/id-index.ts";
import { RecordDirectory } from "../base/record-directory.ts";
import type { Monitor } from "../linux/monitor.ts";
import type { LifecycleListener } from "../sandbox/lifecycle-change.ts";
import type { Bundle } from "./bundle.ts";
import { containerKey, stateOf, type ContainerRecord, type ContainerState } from "./container-record.ts";
import type { StopLoop } from "./stop-loop.ts";

export class Container {
  record: ContainerRecord;
  /** The connection to the monitor while init lives. */
  monitor: Monitor | undefined;
  /** Settled when the end is in the record. */
  readonly ended: Promise<void>;
  stopping: StopLoop | undefined;
  /** A stop has sent SIGKILL while init lived. */
  wasKilled = false;
  bundle: Bundle | undefined;
  /** While it is being restored from a checkpoint; aborted by a stop. */
  restoring: AbortController | undefined;
  /** Ends exec sessions when the container is stopped or removed. */
  readonly execs = new Set<AbortController>();
  readonly #settleEnded: () => void;

  constructor(record: ContainerRecord) {
    this.record = record;
    let settle: () => void = () => {};
    this.ended = new Promise((resolve) => {
      settle = resolve;
    });
    this.#settleEnded = settle;
    if (record.end !== undefined) settle();
  }

  get id(): string {
    return this.record.id;
  }

  get state(): ContainerState {
    return stateOf(this.record);
  }

  markEnded(): void {
    this.#settleEnded();
  }
}

export class ContainerStore {
  readonly records: RecordDirectory<ContainerRecord>;
  readonly #containers = new Map<string, Container>();
  readonly #onChange: LifecycleListener<Container>;

  constructor(root: string, onChange: LifecycleListener<Container> = () => {}) {
    this.#onChange = onChange;
    this.records = new RecordDirectory(root, { version: 1, durable: false });
  }

  /** Writes the intent record. The container is not listed before it is committed. */
  add(record: ContainerRecord): Container {
    this.records.create(record);
    return this.adopt(record);
  }

  adopt(record: ContainerRecord): Container {
    const container = new Container(record);
    this.#containers.set(record.id, container);
    return container;
  }

  /** Replaces fields of the record, on disk first; what has happened holds also when it cannot be written. */
  update(container: Container, change: Partial<ContainerRecord>): void {
    const before = container.record;
    const record = { ...before, ...change };
    let isWritten = false;
    try {
      this.records.write(record);
      isWritten = true;
    } finally {
      if (isWritten || isFact(change)) this.#apply(container, record, before);
    }
  }

  #apply(container: Container, record: ContainerRecord, before: ContainerRecord): void {
    container.record = record;
    if (record.committed) this.#tell(container, before);
    if (record.end !== undefined) container.markEnded();
  }

  #tell(container: Container, before: ContainerRecord): void {
    const { record } = container;
    if (!before.committed) this.#onChange(container, "created");
    if (record.startedAtNs !== undefined && before.startedAtNs === undefined)
      this.#onChange(container, "started");
    if (record.end !== undefined && before.end === undefined) this.#onChange(container, "stopped");
  }

  delete(container: Container): void {
    this.records.delete(container.id);
    this.#containers.delete(container.id);
    if (container.record.committed) this.#onChange(container, "deleted");
  }

  /** By id or unambiguous prefix. */
  find(id: string): Container | undefined {
    const container = findByPrefix(this.#containers, id, "container");
    return container?.record.committed === true ? container : undefined;
  }

  /** @throws CricketError not-found */
  get(id: string): Container {
    const container = this.find(id);
    if (container === undefined) throw notFound(`container ${JSON.stringify(id)} does not exist`);
    return container;
  }

  findByKey(key: string): Container | undefined {
    for (const container of this.#containers.values()) {
      const { record } = container;
      if (record.committed && containerKey(record.sandboxId, record.config) === key) return container;
    }
    return undefined;
  }

  list(): Container[] {
    return [...this.#containers.values()].filter((container) => container.record.committed);
  }

  /** All containers of a sandbox, those that are still being made included. */
  ofSandbox(sandboxId: string): Container[] {
    return [...this.#containers.values()].filter((container) => container.record.sandboxId === sandboxId);
  }

  /** Images that containers use, being made or not: they must not be removed. */
  imageIds(): Set<string> {
    const used = [...this.#containers.values()].flatMap(({ record: { image, imageVolumes = [] } }) => [
      image.id,
      ...imageVolumes.map(({ imageId }) => imageId),
    ]);
    return new Set(used);
  }
}

// Also on a full disk: the next daemon learns of a start from the monitor and of an end from the exit file. A container
// that runs must not be listed as created meanwhile, and who waits for the end of one must not wait on.
function isFact({ startedAtNs, end }: Partial<ContainerRecord>): boolean {
  return startedAtNs !== undefined || end !== undefined;
}

// All sandboxes of this node in memory; the records on disk are the truth behind them. Lists and statuses are
// answered from here, never from disk (containerd#5325: a slow disk must not make the node unresponsive).
import { notFound } from "../base/errors.ts";
import { findByPrefix } from "../base/id-index.ts";
import { RecordDirectory } from "../base/record-directory.ts";
import type { LifecycleListener } from "./lifecycle-change.ts";
import { sandboxKey, type SandboxRecord } from "./sandbox-record.ts";
import type { PauseProcess } from "./pause-process.ts";

export class Sandbox {
  record: SandboxRecord;
  pause: PauseProcess | undefined;
  /** Set when a stop begins: from then on nothing new may be made in the sandbox. */
  isStopping = false;
  /** Its pause ended by itself, and this was told. */
  hasFailed = false;

  constructor(record: SandboxRecord) {
    this.record = record;
  }

  get id(): string {
    return this.record.id;
  }

  get isReady(): boolean {
    const { committed, stoppedAtNs } = this.record;
    return committed && stoppedAtNs === undefined && !this.isStopping && this.pause?.isAlive === true;
  }

  get usesHostNetwork(): boolean {
    return this.record.config.security.namespaces.network === "node";
  }
}

export class SandboxStore {
  readonly records: RecordDirectory<SandboxRecord>;
  readonly #sandboxes = new Map<string, Sandbox>();
  readonly #onChange: LifecycleListener<Sandbox>;

  constructor(root: string, onChange: LifecycleListener<Sandbox> = () => {}) {
    this.#onChange = onChange;
    this.records = new RecordDirectory(root, { version: 1, durable: false });
  }

  /** Writes the intent record and takes the sandbox into the table; not listed before it is committed. */
  add(record: SandboxRecord): Sandbox {
    this.records.create(record);
    return this.adopt(record);
  }

  /** Takes a sandbox whose record is on disk already. */
  adopt(record: SandboxRecord): Sandbox {
    const sandbox = new Sandbox(record);
    this.#sandboxes.set(record.id, sandbox);
    return sandbox;
  }

  /** Replaces fields of the record, on disk first. */
  update(sandbox: Sandbox, change: Partial<SandboxRecord>): void {
    const before = sandbox.record;
    const record = { ...before, ...change };
    this.records.write(record);
    sandbox.record = record;
    if (record.committed && !before.committed) {
      this.#onChange(sandbox, "created");
      this.#onChange(sandbox, "started");
    }
    if (record.stoppedAtNs !== undefined && before.stoppedAtNs === undefined && !sandbox.hasFailed)
      this.#onChange(sandbox, "stopped");
  }

  /** To be called when the pause of a sandbox has ended: unless it was stopped, the sandbox is not ready from now on. */
  pauseEnded(sandbox: Sandbox): void {
    const { committed, stoppedAtNs } = sandbox.record;
    if (!committed || stoppedAtNs !== undefined || sandbox.isStopping) return;
    sandbox.hasFailed = true;
    this.#onChange(sandbox, "stopped");
  }

  delete(sandbox: Sandbox): void {
    this.records.delete(sandbox.id);
    this.#sandboxes.delete(sandbox.id);
    if (sandbox.record.committed) this.#onChange(sandbox, "deleted");
  }

  /** By id or unambiguous prefix. A sandbox that is still being made is nobody's business yet. */
  find(id: string): Sandbox | undefined {
    const sandbox = findByPrefix(this.#sandboxes, id, "sandbox");
    return sandbox?.record.committed === true ? sandbox : undefined;
  }

  /** @throws CricketError not-found */
  get(id: string): Sandbox {
    const sandbox = this.find(id);
    if (sandbox === undefined) throw notFound(`sandbox ${JSON.stringify(id)} does not exist`);
    return sandbox;
  }

  findByKey(key: string): Sandbox | undefined {
    for (const sandbox of this.#sandboxes.values())
      if (sandbox.record.committed && sandboxKey(sandbox.record.config) === key) return sandbox;
    return undefined;
  }

  /** Also those that are still being made. */
  all(): Sandbox[] {
    return [...this.#sandboxes.values()];
  }

  /** Committed sandboxes. */
  list(): Sandbox[] {
    return [...this.#sandboxes.values()].filter((sandbox) => sandbox.record.committed);
  }
}

// What writable layers take on disk. The kubelet asks every ten seconds for all containers at once, and a layer can
// hold a million files: so answers come from a cache, small layers are measured on demand within a budget of time, large
// ones in the background and the more seldom the longer it takes.
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { DiskUsage } from "./layer-store.ts";
import { measureTree } from "./measure-tree.ts";

/** A value of this age is given out as it is. */
const freshMs = 1000;

/** A layer of more entries is measured in the background only. */
const quickEntries = 256;

/** Time for measuring on demand in one window: 50 containers of a list are answered in time, whatever they hold. */
const quickBudgetMs = 3;
const quickWindowMs = 100;

/** How long a slice of a background measurement keeps the event loop. */
const sliceMs = 1;

/** A measurement that took t is repeated after this many times t at the earliest. */
const restFactor = 50;

interface Measured {
  usage: DiskUsage;
  entries: number;
  atMs: number;
  tookMs: number;
}

export class LayerUsage {
  readonly #root: string;
  readonly #measured = new Map<string, Measured>();
  readonly #waiting = new Set<string>();
  #background: Promise<void> | undefined;
  #windowStartMs = 0;
  #spentMs = 0;

  /** `root` holds <container id>/upper. */
  constructor(root: string) {
    this.#root = root;
  }

  /** The last known usage; undefined while a large layer is being measured for the first time, and for an unknown id. */
  usageOf(containerId: string): DiskUsage | undefined {
    const now = performance.now();
    const last = this.#measured.get(containerId);
    if (last !== undefined && now - last.atMs < Math.max(freshMs, last.tookMs * restFactor))
      return last.usage;
    const isSmall = last === undefined || last.entries <= quickEntries;
    if (isSmall && this.#mayMeasureNow(now)) {
      const usage = this.#measureNow(containerId, now);
      if (usage !== undefined) return usage;
    }
    this.#measureLater(containerId);
    return this.#measured.get(containerId)?.usage;
  }

  /** The sum of all layers as last measured. */
  total(): DiskUsage {
    const sum = { bytes: 0, inodes: 0 };
    for (const { usage } of this.#measured.values()) {
      sum.bytes += usage.bytes;
      sum.inodes += usage.inodes;
    }
    return sum;
  }

  /** The container is gone. */
  forget(containerId: string): void {
    this.#measured.delete(containerId);
    this.#waiting.delete(containerId);
  }

  /** Resolves when no measurement is under way. */
  async idle(): Promise<void> {
    await this.#background;
  }

  #mayMeasureNow(now: number): boolean {
    if (now - this.#windowStartMs > quickWindowMs) {
      this.#windowStartMs = now;
      this.#spentMs = 0;
    }
    return this.#spentMs < quickBudgetMs;
  }

  #measureNow(containerId: string, startMs: number): DiskUsage | undefined {
    let entries = 0;
    const usage = { bytes: 0, inodes: 0 };
    let whole = true;
    for (const _ of measureTree(this.#upper(containerId), usage)) {
      entries++;
      if (entries <= quickEntries) continue;
      whole = false;
      break;
    }
    const tookMs = performance.now() - startMs;
    this.#spentMs += tookMs;
    if (!whole || usage.inodes === 0) return undefined;
    this.#measured.set(containerId, { usage, entries, atMs: startMs, tookMs });
    return usage;
  }

  #measureLater(containerId: string): void {
    this.#waiting.add(containerId);
    this.#background ??= this.#measureWaiting().finally(() => {
      this.#background = undefined;
    });
  }

  async #measureWaiting(): Promise<void> {
    for (const containerId of this.#waiting) {
      await nextTurn();
      const measured = await this.#measureInSlices(containerId);
      // forget() may have come meanwhile.
      if (!this.#waiting.delete(containerId)) continue;
      if (measured.usage.inodes > 0) this.#measured.set(containerId, measured);
      else this.#measured.delete(containerId);
    }
  }

  async #measureInSlices(containerId: string): Promise<Measured> {
    const usage = { bytes: 0, inodes: 0 };
    let entries = 0;
    let tookMs = 0;
    let sliceStart = performance.now();
    for (const _ of measureTree(this.#upper(containerId), usage)) {
      entries++;
      const inSlice = performance.now() - sliceStart;
      if (inSlice < sliceMs) continue;
      tookMs += inSlice;
      await nextTurn();
      sliceStart = performance.now();
    }
    tookMs += performance.now() - sliceStart;
    return { usage, entries, atMs: performance.now(), tookMs };
  }

  #upper(containerId: string): string {
    return join(this.#root, containerId, "upper");
  }
}

// The layers of an image that are not here yet: fetched side by side, published bottom up.
import { setMaxListeners } from "node:events";
import { failpoint } from "../base/failpoint.ts";
import type { LayerStore } from "../snapshot/layer-store.ts";
import type { ContentLeases } from "./content-leases.ts";
import type { ImageSource } from "./image-source.ts";
import { downloadLayer } from "./layer-download.ts";
import type { LayerDescriptor } from "./manifest.ts";
import type { LayerProgress } from "./pull-progress.ts";
import { throwIfAborted } from "./registry-errors.ts";

export interface ImageLayer {
  descriptor: LayerDescriptor;
  diffId: string;
  chainId: string;
}

export interface LayerFetch {
  source: ImageSource;
  /** Base first. */
  layers: readonly ImageLayer[];
  signal: AbortSignal;
  onLayer: (progress: LayerProgress) => void;
}

export interface LayerFetcherOptions {
  layers: LayerStore;
  leases: ContentLeases;
  /** Layers of one pull that are fetched at the same time. */
  parallel: number;
  stallTimeoutMs: number;
}

/** A progress event is due after this many bytes: more often than a bar can show, seldom enough to cost nothing. */
const progressStepBytes = 256 * 1024;

export class LayerFetcher {
  readonly #options: LayerFetcherOptions;
  /** Layers on their way in, of all pulls: images share their lower layers, and each is fetched once. */
  readonly #inFlight = new Map<string, Promise<void>>();

  constructor(options: LayerFetcherOptions) {
    this.#options = options;
  }

  /**
   * Resolves when all layers are published. The caller holds a lease on their chain ids. When one layer fails the
   * others are stopped, and the error of the first is thrown once all have come to rest.
   */
  async fetch({ source, layers, signal, onLayer }: LayerFetch): Promise<void> {
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    // One listener per request and layer is no leak.
    setMaxListeners(0, either);
    const slots = new Slots(this.#options.parallel);
    let below = Promise.resolve();
    const all = layers.map((layer, index) => {
      const report = reporter(layer, index, onLayer);
      const chainIdsBelow = layers
        .slice(0, index)
        .map(({ chainId }) => chainId)
        .reverse();
      const published = this.#obtain({ layer, source, signal: either, slots, report, below, chainIdsBelow });
      published.catch((error: unknown) => stop.abort(error));
      below = published;
      return published;
    });
    await Promise.allSettled(all);
    throwIfAborted(signal);
    if (stop.signal.aborted) throw stop.signal.reason;
  }

  /** Makes sure that one layer is published: it is here, another pull is fetching it, or it is fetched. */
  async #obtain(one: OneLayer): Promise<void> {
    const { chainId } = one.layer;
    const { layers, leases } = this.#options;
    for (;;) {
      await leases.settled(chainId);
      throwIfAborted(one.signal);
      if (layers.has(chainId)) return one.report("exists", one.layer.descriptor.sizeBytes);
      const other = this.#inFlight.get(chainId);
      if (other === undefined) break;
      // If the other pull fails it was perhaps only aborted: then it is this one's turn.
      await abortable(
        other.catch(() => {}),
        one.signal,
      );
    }
    const flight = this.#fetchOne(one).finally(() => this.#inFlight.delete(chainId));
    this.#inFlight.set(chainId, flight);
    return flight;
  }

  async #fetchOne(one: OneLayer): Promise<void> {
    const { layer, source, signal, report } = one;
    const { descriptor, diffId, chainId } = layer;
    report("waiting", 0);
    const staged = await one.slots.run(() => {
      throwIfAborted(signal);
      const { stallTimeoutMs } = this.#options;
      const onBytes = (doneBytes: number): void => report("downloading", doneBytes);
      const bytes = downloadLayer({ source, descriptor, signal, stallTimeoutMs, onBytes });
      const { digest: blobDigest, sizeBytes, compression } = descriptor;
      return this.#options.layers.ingest({ blobDigest, sizeBytes, compression, diffId, bytes, signal });
    });
    report("unpacked", descriptor.sizeBytes);
    try {
      // Bottom up, so that whatever a crash leaves is the lower part of an image and never one with a hole.
      await one.below;
      await staged.commit(chainId, one.chainIdsBelow);
      failpoint("pull-image/layer");
    } catch (error) {
      await staged.discard();
      throw error;
    }
    report("done", descriptor.sizeBytes);
  }
}

interface OneLayer {
  layer: ImageLayer;
  source: ImageSource;
  signal: AbortSignal;
  slots: Slots;
  report: (state: LayerProgress["state"], doneBytes: number) => void;
  /** Settles when the layer below is published. */
  below: Promise<void>;
  /** Top first: a directory the layer has entries in but does not describe is as they have it. */
  chainIdsBelow: readonly string[];
}

function reporter(layer: ImageLayer, index: number, onLayer: LayerFetch["onLayer"]): OneLayer["report"] {
  const { digest: blobDigest, sizeBytes: totalBytes } = layer.descriptor;
  let reportedBytes = -progressStepBytes;
  return (state, doneBytes) => {
    if (state === "downloading") {
      if (doneBytes < reportedBytes + progressStepBytes) return;
      reportedBytes = doneBytes;
    }
    onLayer({ blobDigest, index, doneBytes, totalBytes, state });
  };
}

/** Runs work in the order it comes, so many at a time. */
class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#free--;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}

async function abortable(work: Promise<void>, signal: AbortSignal): Promise<void> {
  let stop: () => void = () => {};
  const aborted = new Promise<void>((resolve) => {
    stop = resolve;
    signal.addEventListener("abort", stop, { once: true });
  });
  await Promise.race([work, aborted]);
  signal.removeEventListener("abort", stop);
  throwIfAborted(signal);
}

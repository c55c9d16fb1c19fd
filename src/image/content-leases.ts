// Layers and blobs live as long as a record needs them, or a pull that is under way.
import type { LayerStore } from "../snapshot/layer-store.ts";
import type { BlobStore } from "./blob-store.ts";
import type { ImageStore } from "./image-store.ts";

export interface ImageContent {
  chainIds: readonly string[];
  /** Digests of config and manifest. */
  blobs: readonly string[];
}

export class ContentLeases {
  readonly #layers: LayerStore;
  readonly #blobs: BlobStore;
  readonly #images: ImageStore;
  readonly #holders = new Map<string, number>();
  readonly #removals = new Map<string, Promise<void>>();

  constructor(parts: { layers: LayerStore; blobs: BlobStore; images: ImageStore }) {
    this.#layers = parts.layers;
    this.#blobs = parts.blobs;
    this.#images = parts.images;
  }

  /**
   * Keeps content from being collected, whether it is there yet or not. The release collects what no record has taken
   * over by then; it is to be called exactly once.
   */
  take(content: ImageContent): () => Promise<void> {
    const digests = [...content.chainIds, ...content.blobs];
    for (const digest of digests) this.#holders.set(digest, (this.#holders.get(digest) ?? 0) + 1);
    return () => {
      for (const digest of digests) {
        const left = (this.#holders.get(digest) ?? 1) - 1;
        if (left === 0) this.#holders.delete(digest);
        else this.#holders.set(digest, left);
      }
      return this.collect(content);
    };
  }

  /** Removes what neither a record nor a lease needs. Top layer first: a layer never outlives what it stands on. */
  async collect(content: ImageContent): Promise<void> {
    const layers = [...content.chainIds].reverse().filter((id) => this.#isFree(id) && this.#layers.has(id));
    const blobs = content.blobs.filter((digest) => this.#isFree(digest));
    const removals = [
      ...layers.map((id) => this.#remove(id, () => this.#layers.remove(id))),
      ...blobs.map((digest) => this.#remove(digest, () => this.#blobs.remove(digest))),
    ];
    await Promise.all(removals);
  }

  /** Resolves when no removal of this content is under way: only then does asking whether it is there make sense. */
  async settled(digest: string): Promise<void> {
    await this.#removals.get(digest)?.catch(() => {});
  }

  #isFree(digest: string): boolean {
    return !this.#holders.has(digest) && !this.#images.references(digest) && !this.#removals.has(digest);
  }

  #remove(digest: string, remove: () => Promise<void>): Promise<void> {
    const removal = remove().finally(() => this.#removals.delete(digest));
    this.#removals.set(digest, removal);
    return removal;
  }
}

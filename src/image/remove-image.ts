// Removing an image: the record first, which makes it invisible, then what only it needed.
import { failedPrecondition, notFound } from "../base/errors.ts";
import { failpoint } from "../base/failpoint.ts";
import type { ContentLeases } from "./content-leases.ts";
import type { ImageRecord } from "./image-record.ts";
import type { ImageStore } from "./image-store.ts";

/** Holds and removals of images exclude each other, decided without waiting for anything. */
export class ImageHolds {
  readonly #held = new Map<string, number>();
  readonly #removing = new Set<string>();

  /** Throws not-found while the image is being removed. Returns the release, which may be called more than once. */
  take(imageId: string): () => void {
    this.assertStays(imageId);
    this.#held.set(imageId, (this.#held.get(imageId) ?? 0) + 1);
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      const left = (this.#held.get(imageId) ?? 1) - 1;
      if (left === 0) this.#held.delete(imageId);
      else this.#held.set(imageId, left);
    };
  }

  assertStays(imageId: string): void {
    if (this.#removing.has(imageId)) throw notFound(`image ${imageId} is being removed`);
  }

  /** Runs a removal, during which nobody gets a hold. Throws failed-precondition when somebody has one. */
  async removing(imageId: string, remove: () => Promise<void>): Promise<void> {
    if (this.#held.has(imageId))
      throw failedPrecondition(`image ${imageId} is in use: a container is being made of it`);
    this.#removing.add(imageId);
    try {
      await remove();
    } finally {
      this.#removing.delete(imageId);
    }
  }
}

export interface RemoveParts {
  images: ImageStore;
  leases: ContentLeases;
  holds: ImageHolds;
}

/**
 * Removes an image with all its names. Layers are renamed away here and deleted in the background by their store, so
 * that the caller does not feel the size of the image. Throws failed-precondition when a container uses it.
 */
export async function removeImage(
  { images, leases, holds }: RemoveParts,
  { id, chainIds, manifestDigest }: ImageRecord,
  inUse: ReadonlySet<string>,
): Promise<void> {
  if (inUse.has(id)) throw failedPrecondition(`image ${id} is in use by a container`);
  await holds.removing(id, async () => {
    await images.delete(id);
    failpoint("remove-image/record");
    await leases.collect({ chainIds, blobs: [id, manifestDigest] });
  });
}

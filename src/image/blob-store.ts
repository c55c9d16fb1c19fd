// Image configs and manifests as the registry served them, by digest: `<root>/<hex>`.
import { mkdirSync, readdirSync, statSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { writeFileDurable } from "../base/atomic-file.ts";
import { errnoOf, wrapError } from "../base/errors.ts";
import type { DiskUsage } from "../snapshot/layer-store.ts";
import { hexOf } from "./digest.ts";

export class BlobStore {
  readonly #root: string;
  /** Name to bytes: what asking for the usage must not have to read from disk. */
  readonly #sizes = new Map<string, number>();

  constructor(root: string) {
    this.#root = root;
    mkdirSync(root, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(root)) this.#sizes.set(name, statSync(join(root, name)).size);
  }

  has(digest: string): boolean {
    return this.#sizes.has(hexOf(digest));
  }

  usage(): DiskUsage {
    let bytes = 0;
    for (const size of this.#sizes.values()) bytes += size;
    return { bytes, inodes: this.#sizes.size };
  }

  /** Durable when it resolves. `bytes` are verified by the caller. */
  async put(digest: string, bytes: Uint8Array): Promise<void> {
    try {
      await writeFileDurable(this.#path(digest), bytes);
    } catch (error) {
      throw wrapError(`write blob ${digest}`, error);
    }
    this.#sizes.set(hexOf(digest), bytes.length);
  }

  /** Undefined when the blob is not there. */
  async get(digest: string): Promise<Buffer | undefined> {
    try {
      return await readFile(this.#path(digest));
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  async remove(digest: string): Promise<void> {
    await rm(this.#path(digest), { force: true });
    this.#sizes.delete(hexOf(digest));
  }

  /** Deletes everything that `keep` does not name, what a killed writer left included. */
  async sweep(keep: ReadonlySet<string>): Promise<void> {
    for (const name of this.#sizes.keys()) {
      if (keep.has(`sha256:${name}`)) continue;
      await rm(join(this.#root, name), { force: true, recursive: true });
      this.#sizes.delete(name);
    }
  }

  #path(digest: string): string {
    return join(this.#root, hexOf(digest));
  }
}

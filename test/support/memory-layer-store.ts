// A LayerStore that keeps layers in memory: it verifies what the real one verifies and unpacks nothing.

import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { CricketError } from "../../src/base/errors.ts";
import type { LayerSource, LayerStore, StagedLayer } from "../../src/snapshot/layer-store.ts";

export interface MemoryLayerStore extends LayerStore {
  /** Layers that are complete and neither committed nor discarded. */
  staged: Set<StagedLayer>;
  /** Chain ids in the order they were published. */
  committed: string[];
  /** Blob digests in the order their ingest began. */
  ingested: string[];
}

const digest = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

export function createMemoryLayerStore(): MemoryLayerStore {
  const layers = new Map<string, number>();
  const store: MemoryLayerStore = {
    staged: new Set(),
    committed: [],
    ingested: [],
    has: (chainId) => layers.has(chainId),
    path: (chainId) => `/layers/${chainId}`,
    usage: (chainId) => ({ bytes: layers.get(chainId) ?? 0, inodes: 1 }),
    list: () => [...layers.keys()],
    async ingest(source) {
      store.ingested.push(source.blobDigest);
      const bytes = await readVerified(source);
      const staged: StagedLayer = {
        diffId: source.diffId,
        usage: { bytes: bytes.length, inodes: 1 },
        async commit(chainId) {
          store.staged.delete(staged);
          store.committed.push(chainId);
          layers.set(chainId, bytes.length);
        },
        async discard() {
          store.staged.delete(staged);
        },
      };
      store.staged.add(staged);
      return staged;
    },
    async remove(chainId) {
      layers.delete(chainId);
    },
    async sweep(keep) {
      for (const chainId of layers.keys()) if (!keep.has(chainId)) layers.delete(chainId);
    },
  };
  return store;
}

async function readVerified(source: LayerSource): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source.bytes) chunks.push(chunk);
  const blob = Buffer.concat(chunks);
  const { blobDigest, diffId, sizeBytes } = source;
  const tar = digest(blob) === blobDigest && source.compression === "gzip" ? gunzipSync(blob) : blob;
  if (digest(blob) !== blobDigest || blob.length !== sizeBytes || digest(tar) !== diffId)
    throw new CricketError("failed-precondition", `layer ${blobDigest}: digest does not match`);
  return tar;
}

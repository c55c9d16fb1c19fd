// Image layers on disk: one directory per chain id, published by one rename when its content is complete.

export type LayerCompression = "gzip" | "zstd" | "none";

export interface LayerSource {
  /** "sha256:<hex>" of the bytes as they come from the registry. */
  blobDigest: string;
  sizeBytes: number;
  compression: LayerCompression;
  /** "sha256:<hex>" of the uncompressed tar. */
  diffId: string;
  bytes: AsyncIterable<Uint8Array>;
  signal: AbortSignal;
}

/** A layer that is complete and verified in a private directory, but not visible yet. */
export interface StagedLayer {
  diffId: string;
  usage: DiskUsage;
  /**
   * Publishes the layer as `chainId` ("sha256:<hex>"); if that layer exists by now, the staged copy is dropped. `below`
   * are the chain ids of the layers under it, top first, committed before: a directory that the archive implies
   * without describing it gets its owner, mode and time from them (else it is 0755 root:root).
   */
  commit(chainId: string, below?: readonly string[]): Promise<void>;
  discard(): Promise<void>;
}

export interface DiskUsage {
  bytes: number;
  inodes: number;
}

export interface LayerStore {
  has(chainId: string): boolean;
  /** The directory of a layer, for overlay's lowerdir. */
  path(chainId: string): string;
  usage(chainId: string): DiskUsage;
  /** Streams one layer: verifies both digests and the length while it unpacks. Leaves nothing when it fails. */
  ingest(source: LayerSource): Promise<StagedLayer>;
  /** Makes the layer invisible at once; its files are deleted in the background. */
  remove(chainId: string): Promise<void>;
  list(): string[];
  /** At start: deletes staging directories and every layer that `keep` does not name. */
  sweep(keep: ReadonlySet<string>): Promise<void>;
}

// The layer store: <root>/<hex of chain id>/{diff/,layer.json}. A layer is unpacked under .staging, synced with its
// whole filesystem once, and published by one rename; removal is a rename into .trash. So a name in <root> always means
// a complete layer, whenever the daemon or the machine died.
import { randomBytes } from "node:crypto";
import { mkdirSync, openSync, closeSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { CricketError, errnoOf, invalidArgument, messageOf, notFound, wrapError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { fsync, syncfs } from "../linux/files.ts";
import { spreadSubdirectories } from "../linux/inode-flags.ts";
import { isSha256Digest } from "./chain-id.ts";
import { GroupCommit } from "./group-commit.ts";
import { inheritDirectories } from "./inherit-directories.ts";
import { readLayerRecord, writeLayerRecord } from "./layer-record.ts";
import type { DiskUsage, LayerSource, LayerStore, StagedLayer } from "./layer-store.ts";
import { sourceBytes } from "./source-bytes.ts";
import { Trash } from "./trash.ts";
import { UnpackPool } from "./unpack-pool.ts";
import { unpackStream, type UnpackRequest, type UnpackResult } from "./unpack-stream.ts";

export interface LayerStoreOptions {
  /** An absolute directory; made 0700 if missing. */
  root: string;
  log: Log;
}

/** A LayerStore with a life of its own: worker threads and deletions in the background. */
export interface OpenLayerStore extends LayerStore {
  /** Resolves when all removed layers are deleted. */
  idle(): Promise<void>;
  close(): Promise<void>;
}

// Smaller layers than this are unpacked on the main thread: starting a worker takes longer.
const inlineBytes = 512 * 1024;
const inlineLimits = { chunkBytes: 64 * 1024, maxEntries: 200_000 };
const workerLimits = { chunkBytes: 256 * 1024, maxEntries: 4_000_000 };
const maxTarBytes = 256 * 1024 ** 3;

/** Opens the store: reads what layers there are, and goes on with deletions that were under way. */
export async function openLayerStore(options: LayerStoreOptions): Promise<OpenLayerStore> {
  const store = new DirectoryLayerStore(options);
  store.load();
  return store;
}

class DirectoryLayerStore implements OpenLayerStore {
  readonly #root: string;
  readonly #staging: string;
  readonly #log: Log;
  readonly #layers = new Map<string, DiskUsage>();
  /** Staging directories of this process. */
  readonly #active = new Set<string>();
  readonly #trash: Trash;
  readonly #pool = new UnpackPool();
  readonly #rootFd: number;
  readonly #contentSync: GroupCommit;
  readonly #directorySync: GroupCommit;

  constructor({ root, log }: LayerStoreOptions) {
    this.#root = root;
    this.#log = log;
    this.#staging = join(root, ".staging");
    mkdirSync(this.#staging, { recursive: true, mode: 0o700 });
    spreadSubdirectories(this.#staging);
    this.#trash = new Trash(join(root, ".trash"), log);
    this.#rootFd = openSync(root, "r");
    this.#contentSync = new GroupCommit(() => syncfs(this.#rootFd));
    this.#directorySync = new GroupCommit(() => fsync(this.#rootFd));
  }

  load(): void {
    for (const name of readdirSync(this.#root)) {
      if (!/^[0-9a-f]{64}$/.test(name)) continue;
      try {
        const { usage } = readLayerRecord(join(this.#root, name, "layer.json"));
        this.#layers.set(`sha256:${name}`, usage);
      } catch (error) {
        this.#log.warn("layer is not whole and is dropped", { layer: name, error: messageOf(error) });
        this.#trash.discard(join(this.#root, name));
      }
    }
    this.#trash.resume();
  }

  has(chainId: string): boolean {
    return this.#layers.has(chainId);
  }

  path(chainId: string): string {
    this.usage(chainId);
    return join(this.#directory(chainId), "diff");
  }

  usage(chainId: string): DiskUsage {
    const usage = this.#layers.get(chainId);
    if (usage === undefined) throw notFound(`layer ${chainId} is not in the store`);
    return usage;
  }

  list(): string[] {
    return [...this.#layers.keys()];
  }

  async ingest(source: LayerSource): Promise<StagedLayer> {
    const staged = join(this.#staging, randomBytes(12).toString("hex"));
    this.#active.add(staged);
    try {
      mkdirSync(join(staged, "diff"), { recursive: true, mode: 0o700 });
      const result = await this.#unpack(source, join(staged, "diff"));
      verify(source, result);
      if (result.skippedXattrs > 0)
        this.#log.warn("extended attributes were left out: the filesystem does not take them", {
          blob: source.blobDigest,
          count: result.skippedXattrs,
        });
      writeLayerRecord(join(staged, "layer.json"), { diffId: result.diffId, usage: result.usage });
      await this.#contentSync.run();
      return this.#stagedLayer(staged, result);
    } catch (error) {
      this.#drop(staged);
      throw wrapError(`layer ${source.blobDigest}`, error);
    }
  }

  async remove(chainId: string): Promise<void> {
    if (!isSha256Digest(chainId)) throw invalidArgument(`chain id ${JSON.stringify(chainId)}`);
    // In this order: a layer that cannot be taken away is still there, and a pull that needs it finds it.
    this.#trash.discard(this.#directory(chainId));
    this.#layers.delete(chainId);
  }

  async sweep(keep: ReadonlySet<string>): Promise<void> {
    for (const name of readdirSync(this.#staging)) {
      const path = join(this.#staging, name);
      if (!this.#active.has(path)) this.#trash.discard(path);
    }
    for (const chainId of this.list()) {
      if (!keep.has(chainId)) await this.remove(chainId);
    }
  }

  async idle(): Promise<void> {
    await this.#trash.idle();
  }

  async close(): Promise<void> {
    await this.#pool.close();
    await this.#trash.close();
    closeSync(this.#rootFd);
  }

  #directory(chainId: string): string {
    return join(this.#root, chainId.slice("sha256:".length));
  }

  async #unpack(source: LayerSource, directory: string): Promise<UnpackResult> {
    // The source must end when the unpacking fails, even if it stalls.
    const stop = new AbortController();
    const bytes = sourceBytes(source, AbortSignal.any([source.signal, stop.signal]));
    const inline = source.sizeBytes <= inlineBytes && !this.#pool.isRunning;
    const limits = inline ? inlineLimits : workerLimits;
    const request: UnpackRequest = { directory, compression: source.compression, maxTarBytes, ...limits };
    try {
      return await (inline ? unpackStream(bytes, request) : this.#pool.unpack(bytes, request));
    } finally {
      stop.abort();
    }
  }

  #stagedLayer(staged: string, result: UnpackResult): StagedLayer {
    const { diffId, usage, implicitDirectories } = result;
    return {
      diffId,
      usage,
      commit: async (chainId, below = []) => {
        if (!isSha256Digest(chainId)) throw invalidArgument(`chain id ${JSON.stringify(chainId)}`);
        if (!this.#active.has(staged)) throw new CricketError("failed-precondition", "layer is not staged");
        if (implicitDirectories.length > 0 && below.length > 0) {
          const lower = below.map((id) => this.path(id));
          inheritDirectories(join(staged, "diff"), implicitDirectories, lower);
          await this.#contentSync.run();
        }
        await this.#publish(staged, chainId, usage);
      },
      discard: async () => this.#drop(staged),
    };
  }

  async #publish(staged: string, chainId: string, usage: DiskUsage): Promise<void> {
    try {
      renameSync(staged, this.#directory(chainId));
    } catch (error) {
      const errno = errnoOf(error);
      if (errno !== "ENOTEMPTY" && errno !== "EEXIST") throw wrapError(`publish layer ${chainId}`, error);
      // The same layer came by another pull: one is as good as the other.
      return this.#drop(staged);
    }
    this.#active.delete(staged);
    await this.#directorySync.run();
    this.#layers.set(chainId, usage);
  }

  #drop(staged: string): void {
    if (this.#active.delete(staged)) this.#trash.discard(staged);
  }
}

function verify(source: LayerSource, result: UnpackResult): void {
  if (result.blobDigest !== source.blobDigest)
    throw new CricketError("failed-precondition", `blob has digest ${result.blobDigest}`);
  if (result.diffId !== source.diffId)
    throw new CricketError("failed-precondition", `diff id is ${result.diffId} and not ${source.diffId}`);
}

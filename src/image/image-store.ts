// The records of all images: on disk one file each, in memory for every answer.
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { temporarySuffix, writeFileDurable } from "../base/atomic-file.ts";
import { CricketError, wrapError } from "../base/errors.ts";
import { KeyedLock } from "../base/keyed-lock.ts";
import type { Log } from "../base/log.ts";
import { hexOf } from "./digest.ts";
import { imageRecordVersion, type ImageRecord } from "./image-record.ts";
import { repositoryOf, type ImageReference } from "./reference.ts";

/** Shorter texts are names, not abbreviated ids. */
const shortestIdPrefix = 3;

/** Readers see memory only and never wait; writers take turns and change memory after the disk. */
export class ImageStore {
  readonly #root: string;
  readonly #records = new Map<string, ImageRecord>();
  readonly #writers = new KeyedLock();
  #idByName = new Map<string, string>();
  #references = new Map<string, number>();

  /** Loads all records; those that cannot be read or that `isComplete` refuses are deleted with a warning. */
  constructor(root: string, log: Log, isComplete: (record: ImageRecord) => boolean) {
    this.#root = root;
    mkdirSync(root, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(root)) {
      const record = name.endsWith(temporarySuffix) ? undefined : readRecord(root, name);
      if (record !== undefined && isComplete(record)) {
        this.#records.set(record.id, record);
        continue;
      }
      // The image is pulled again when it is needed; half of it is of no use to anyone.
      if (!name.endsWith(temporarySuffix))
        log.warn("image record is broken or its layers are gone: dropped", { name });
      rmSync(join(root, name), { force: true, recursive: true });
    }
    this.#settleTags();
    this.#index();
  }

  get(id: string): ImageRecord | undefined {
    return this.#records.get(id);
  }

  all(): ImageRecord[] {
    return [...this.#records.values()];
  }

  /** The image with exactly this reference: its digest where it has one, else its tag. */
  find(reference: ImageReference): ImageRecord | undefined {
    const repository = repositoryOf(reference);
    const name =
      reference.digest === undefined
        ? `${repository}:${reference.tag ?? ""}`
        : `${repository}@${reference.digest}`;
    return this.#records.get(this.#idByName.get(name) ?? "");
  }

  /**
   * The image with this id or prefix of an id, with or without "sha256:". Undefined for other texts. Throws
   * invalid-argument when several images match.
   */
  findById(text: string): ImageRecord | undefined {
    const hex = text.startsWith("sha256:") ? hexOf(text) : text;
    if (!/^[0-9a-f]{3,64}$/.test(hex) || hex.length < shortestIdPrefix) return undefined;
    const matching = this.all().filter(({ id }) => hexOf(id).startsWith(hex));
    if (matching.length > 1) throw new CricketError("invalid-argument", `image id ${text} is ambiguous`);
    return matching[0];
  }

  /** True while a record needs this chain id, config or manifest. */
  references(digest: string): boolean {
    return this.#references.has(digest);
  }

  /** Everything that records need: chain ids, configs and manifests. */
  referenced(): Set<string> {
    return new Set(this.#references.keys());
  }

  /** Adds a record, or its names to the one that is there; tags of it that other images have move over. Durable. */
  put(record: ImageRecord): Promise<void> {
    return this.#writers.run("records", async () => {
      const merged = merge(this.#records.get(record.id), record);
      await this.#write(merged);
      // A crash here leaves the tag on two records: the later pull wins at the next start.
      for (const other of this.all()) {
        const repoTags = other.repoTags.filter((tag) => !merged.repoTags.includes(tag));
        if (other.id !== merged.id && repoTags.length < other.repoTags.length)
          await this.#write({ ...other, repoTags });
      }
    });
  }

  /** Forgets an image. The caller frees what only it needed. */
  delete(id: string): Promise<void> {
    return this.#writers.run("records", async () => {
      rmSync(this.#path(id), { force: true });
      this.#records.delete(id);
      this.#index();
      const directory = await open(this.#root, "r");
      try {
        await directory.sync();
      } finally {
        await directory.close();
      }
    });
  }

  async #write(record: ImageRecord): Promise<void> {
    try {
      await writeFileDurable(this.#path(record.id), JSON.stringify(record));
    } catch (error) {
      throw wrapError(`write record of image ${record.id}`, error);
    }
    this.#records.set(record.id, record);
    this.#index();
  }

  #path(id: string): string {
    return join(this.#root, `${hexOf(id)}.json`);
  }

  #settleTags(): void {
    const taken = new Set<string>();
    for (const record of this.all().sort((a, b) => b.pulledAtMs - a.pulledAtMs)) {
      record.repoTags = record.repoTags.filter((tag) => !taken.has(tag));
      for (const tag of record.repoTags) taken.add(tag);
    }
  }

  // Made anew after each change: there are hundreds of images at most, and nothing can get out of step.
  #index(): void {
    this.#idByName = new Map();
    this.#references = new Map();
    for (const record of this.#records.values()) {
      for (const name of [...record.platformDigests, ...record.repoDigests, ...record.repoTags])
        this.#idByName.set(name, record.id);
      for (const digest of [...record.chainIds, record.id, record.manifestDigest])
        this.#references.set(digest, (this.#references.get(digest) ?? 0) + 1);
    }
  }
}

function merge(old: ImageRecord | undefined, record: ImageRecord): ImageRecord {
  if (old === undefined) return record;
  const union = (a: string[], b: string[]): string[] => [...new Set([...a, ...b])];
  return {
    ...record,
    repoTags: union(old.repoTags, record.repoTags),
    repoDigests: union(old.repoDigests, record.repoDigests),
    platformDigests: union(old.platformDigests, record.platformDigests),
    // The first manifest stays: its blob is on disk and others with the same config describe the same image.
    manifestDigest: old.manifestDigest,
  };
}

function readRecord(root: string, name: string): ImageRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(join(root, name), "utf8")) as ImageRecord;
    const isOurs = record.version === imageRecordVersion && `${hexOf(record.id)}.json` === name;
    return isOurs && Array.isArray(record.chainIds) && Array.isArray(record.repoTags) ? record : undefined;
  } catch {
    return undefined;
  }
}

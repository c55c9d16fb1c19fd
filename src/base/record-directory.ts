// Records of one kind on disk: <root>/<id>/record.json, one directory an object. The directory carries the id, so
// whatever is found there without a readable record is an orphan that can be cleaned up by name alone.
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "./atomic-file.ts";
import { errnoOf } from "./errors.ts";
import { isId } from "./ids.ts";
import { parseExact, stringifyExact } from "./json.ts";

export interface LoadedRecords<T> {
  records: T[];
  /** Ids of directories whose record is missing, unreadable or of another version. */
  orphans: string[];
}

/**
 * `durable: false` is for roots on tmpfs: the records must survive the daemon, not the machine. A record is always
 * replaced as a whole, by rename; a failed write fails the caller's request.
 */
export class RecordDirectory<T extends { version: number; id: string }> {
  readonly root: string;
  readonly #version: number;
  readonly #durable: boolean;

  constructor(root: string, options: { version: number; durable: boolean }) {
    this.root = root;
    this.#version = options.version;
    this.#durable = options.durable;
    mkdirSync(root, { recursive: true, mode: 0o700 });
  }

  directory(id: string): string {
    return join(this.root, id);
  }

  /** Makes the object's directory and its first record, or nothing: a full disk must not fill with empty directories. */
  create(record: T): void {
    mkdirSync(this.directory(record.id), { mode: 0o700 });
    try {
      this.write(record);
    } catch (error) {
      this.delete(record.id);
      throw error;
    }
  }

  write(record: T): void {
    const path = join(this.directory(record.id), "record.json");
    writeFileAtomic(path, stringifyExact(record), { durable: this.#durable });
  }

  /** Deletes the object's directory with all that is in it. Idempotent. */
  delete(id: string): void {
    rmSync(this.directory(id), { recursive: true, force: true });
  }

  load(): LoadedRecords<T> {
    const loaded: LoadedRecords<T> = { records: [], orphans: [] };
    for (const name of readdirSync(this.root)) {
      if (!isId(name)) continue;
      const record = this.#read(name);
      if (record === undefined) loaded.orphans.push(name);
      else loaded.records.push(record);
    }
    return loaded;
  }

  #read(id: string): T | undefined {
    let text: string;
    try {
      text = readFileSync(join(this.directory(id), "record.json"), "utf8");
    } catch (error) {
      if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return undefined;
      throw error;
    }
    try {
      const record = parseExact(text) as T;
      return record.version === this.#version && record.id === id ? record : undefined;
    } catch {
      return undefined;
    }
  }
}

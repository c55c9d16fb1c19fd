// Directories that are to be deleted: renamed away at once, deleted in the background, one after the other. What a
// killed daemon leaves is found by name at the next start.
import { randomBytes } from "node:crypto";
import { closeSync, mkdirSync, openSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { deleteTreeAsync } from "./delete-tree.ts";

export class Trash {
  readonly #directory: string;
  readonly #log: Log;
  readonly #queue: string[] = [];
  #emptying: Promise<void> | undefined;
  #closed = false;

  /** `directory` is made if missing; it must be on the filesystem of what will be thrown away. */
  constructor(directory: string, log: Log) {
    this.#directory = directory;
    this.#log = log;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /** Moves `path` out of sight and has it deleted later. False if there is no such path. */
  discard(path: string): boolean {
    const name = randomBytes(12).toString("hex");
    try {
      renameSync(path, join(this.#directory, name));
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return false;
      throw error;
    }
    this.#enqueue([name]);
    return true;
  }

  /** Goes on with what an earlier process has left. */
  resume(): void {
    const known = new Set(this.#queue);
    this.#enqueue(readdirSync(this.#directory).filter((name) => !known.has(name)));
  }

  /** Resolves when nothing is left to delete. */
  async idle(): Promise<void> {
    await this.#emptying;
  }

  /** Ends after the tree that is being deleted; the rest is found at the next start. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#emptying;
  }

  #enqueue(names: readonly string[]): void {
    this.#queue.push(...names);
    this.#emptying ??= this.#empty().finally(() => {
      this.#emptying = undefined;
    });
  }

  async #empty(): Promise<void> {
    const fd = openSync(this.#directory, "r");
    try {
      for (let name = this.#queue[0]; name !== undefined && !this.#closed; name = this.#queue[0]) {
        await this.#delete(fd, name);
        this.#queue.shift();
      }
    } finally {
      closeSync(fd);
    }
  }

  // What cannot be deleted now (a mount left inside) must not hold up the rest; the next start tries again.
  async #delete(fd: number, name: string): Promise<void> {
    try {
      await deleteTreeAsync(fd, name);
    } catch (error) {
      this.#log.warn("deletion failed", { path: join(this.#directory, name), error: messageOf(error) });
    }
  }
}

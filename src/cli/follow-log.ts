// Reads a container's log while it grows, across rotation: the file is renamed, and a new one appears under its name.
import { watch } from "node:fs";
import { open, stat, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { LineSplitter, parseLogRecord, type LogRecord } from "./log-record.ts";

export interface FollowOptions {
  /** Byte to begin at in the file that is there now. */
  start: number;
  /** Aborted when nothing more will be written; what is in the file then is still read. */
  ended: AbortSignal;
}

const chunkBytes = 64 * 1024;
// In case a change is not reported: a network filesystem, or no inotify watches left.
const pollMs = 250;

/** All records from `start` on, until `ended`. A file that is not there yet is waited for. */
export async function* followLog(path: string, options: FollowOptions): AsyncGenerator<LogRecord> {
  const follower = new LogFollower(path, options);
  try {
    yield* follower.records();
  } finally {
    await follower.close();
  }
}

class LogFollower {
  readonly #path: string;
  readonly #ended: AbortSignal;
  readonly #changes: ChangeWatch;
  readonly #lines = new LineSplitter();
  readonly #buffer = Buffer.allocUnsafe(chunkBytes);
  #file: FileHandle | undefined;
  #position: number;

  constructor(path: string, { start, ended }: FollowOptions) {
    this.#path = path;
    this.#ended = ended;
    this.#position = start;
    this.#changes = new ChangeWatch(dirname(path), ended);
  }

  async *records(): AsyncGenerator<LogRecord> {
    for (;;) {
      // Asked before reading: what was written before the end is read then.
      const isLast = this.#ended.aborted;
      yield* this.#readAll();
      if (await this.#moveToNextFile()) continue;
      if (isLast) return;
      await this.#changes.next();
    }
  }

  async close(): Promise<void> {
    this.#changes.close();
    await this.#file?.close();
  }

  async *#readAll(): AsyncGenerator<LogRecord> {
    this.#file ??= await openIfThere(this.#path);
    if (this.#file === undefined) return;
    // Truncated in place by somebody else's rotation: begin again.
    if ((await this.#file.stat()).size < this.#position) this.#startAfresh();
    for (;;) {
      const { bytesRead } = await this.#file.read(this.#buffer, 0, chunkBytes, this.#position);
      if (bytesRead === 0) return;
      this.#position += bytesRead;
      for (const line of this.#lines.push(this.#buffer.subarray(0, bytesRead))) {
        const record = parseLogRecord(line);
        if (record !== undefined) yield record;
      }
    }
  }

  #startAfresh(): void {
    this.#position = 0;
    this.#lines.reset();
  }

  /**
   * True when another file has the log's name by now and is open. The old file is at its end: its writer opened the
   * new one after the last line it wrote to the old one, and the old one is read once more after the new one is seen.
   */
  async #moveToNextFile(): Promise<boolean> {
    if (this.#file === undefined || (await this.#isCurrent())) return false;
    const { size } = await this.#file.stat();
    if (size > this.#position) return true;
    await this.#file.close();
    this.#file = undefined;
    this.#startAfresh();
    return true;
  }

  async #isCurrent(): Promise<boolean> {
    if (this.#file === undefined) return true;
    const own = await this.#file.stat();
    const current = await stat(this.#path).catch(() => undefined);
    return current === undefined || (current.ino === own.ino && current.dev === own.dev);
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, "r");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Wakes up when something changes in a directory, when time has passed, and when `ended` is aborted. */
class ChangeWatch {
  readonly #watcher: { close(): void } | undefined;
  readonly #ended: AbortSignal;
  #changed = false;
  #wake: () => void = () => {};
  readonly #onChange = (): void => {
    this.#changed = true;
    this.#wake();
  };

  constructor(directory: string, ended: AbortSignal) {
    this.#ended = ended;
    this.#watcher = watchDirectory(directory, this.#onChange);
    ended.addEventListener("abort", this.#onChange);
  }

  async next(): Promise<void> {
    if (this.#changed) {
      this.#changed = false;
      return;
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, pollMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#changed = false;
  }

  close(): void {
    this.#watcher?.close();
    this.#ended.removeEventListener("abort", this.#onChange);
  }
}

function watchDirectory(directory: string, onChange: () => void): { close(): void } | undefined {
  try {
    const watcher = watch(directory, { persistent: false }, onChange);
    watcher.on("error", () => watcher.close());
    return watcher;
  } catch {
    return undefined;
  }
}

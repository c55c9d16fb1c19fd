// passwd and group of an image: files made by strangers. They are opened below the rootfs descriptor and read line by
// line through one small buffer, whatever their size (CVE-2025-4437).
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { CricketError, errnoOf, SyscallError } from "../base/errors.ts";
import { close, fdPath, O_PATH, openat2, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS } from "./files.ts";

const bufferBytes = 16 * 1024;
/** A group with thousands of members still fits. */
const maxLineBytes = 64 * 1024;
/** More than any real passwd has, little enough to be read while a container is made. */
const maxFileBytes = 16 * 1024 * 1024;

export class AccountFile {
  readonly #path: string;
  readonly #fd: number | undefined;

  private constructor(path: string, fd: number | undefined) {
    this.#path = path;
    this.#fd = fd;
  }

  /**
   * A missing file is an empty one. Links are followed, but never out of the rootfs.
   * @throws CricketError failed-precondition for anything but a regular file
   */
  static open(rootFd: number, path: string): AccountFile {
    let place: number;
    try {
      place = openat2(rootFd, path, { flags: O_PATH, resolve: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS });
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === "ENOENT" || errno === "ENOTDIR") return new AccountFile(path, undefined);
      throw error;
    }
    try {
      // Looked at before it is opened: opening a FIFO would wait, opening a device does something.
      if (!fstatSync(place).isFile()) throw unusable(path, "not a regular file");
      return new AccountFile(path, openSync(fdPath(place), "r"));
    } finally {
      close(place);
    }
  }

  /**
   * Calls `match` with the colon-separated fields of each line until it returns something, and returns that. Empty
   * lines, comments and lines that are too long to be sensible are passed over.
   */
  find<T>(match: (fields: string[]) => T | undefined): T | undefined {
    for (const line of this.#lines()) {
      if (line === "" || line.startsWith("#")) continue;
      const found = match(line.split(":"));
      if (found !== undefined) return found;
    }
    return undefined;
  }

  *#lines(): Generator<string> {
    if (this.#fd === undefined) return;
    const buffer = Buffer.alloc(bufferBytes);
    let rest = "";
    let isSkipping = false;
    for (let position = 0; ;) {
      const length = this.#read(this.#fd, buffer, position);
      if (length === 0) break;
      position += length;
      if (position > maxFileBytes) throw unusable(this.#path, `longer than ${maxFileBytes} bytes`);
      const [first = "", ...others] = buffer.toString("latin1", 0, length).split("\n");
      rest += first;
      if (others.length > 0) {
        if (!isSkipping) yield decode(rest);
        isSkipping = false;
        rest = others.pop() ?? "";
        yield* others.map(decode);
      }
      if (rest.length > maxLineBytes) {
        isSkipping = true;
        rest = "";
      }
    }
    if (!isSkipping && rest !== "") yield decode(rest);
  }

  #read(fd: number, buffer: Buffer, position: number): number {
    try {
      return readSync(fd, buffer, 0, buffer.length, position);
    } catch (error) {
      throw new SyscallError("read", errnoOf(error) ?? "EIO", this.#path);
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
  }
}

// Split as bytes first: a chunk may end in the middle of a character.
function decode(line: string): string {
  return Buffer.from(line, "latin1").toString("utf8").replace(/\r$/, "");
}

function unusable(path: string, why: string): CricketError {
  return new CricketError("failed-precondition", `${path} of the image is ${why}`);
}

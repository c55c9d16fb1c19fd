// A unix socket of the daemon: made so that nobody but root ever reaches it, not even for the moment between bind and
// chmod, and never taken away from a daemon that is alive (CVE-2020-15257, CVE-2024-25621).
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, renameSync, rmSync, type Stats } from "node:fs";
import { createConnection } from "node:net";
import { dirname, join } from "node:path";
import { CricketError, errnoOf, invalidArgument, wrapError } from "../base/errors.ts";

// sockaddr_un.sun_path is 108 bytes with its final NUL; a longer path would be cut off without a word.
const maxSocketPathBytes = 107;

/** A socket under a private name in a directory of mode 0700, to be listened on and then published by `rename`. */
export class StagedSocket {
  readonly path: string;
  readonly #directory: string;
  readonly #finalPath: string;

  private constructor(directory: string, finalPath: string) {
    this.#directory = directory;
    this.#finalPath = finalPath;
    this.path = join(directory, "s");
  }

  /** @throws CricketError failed-precondition when another process listens on `finalPath` */
  static async prepare(finalPath: string): Promise<StagedSocket> {
    const parent = dirname(finalPath);
    mkdirSync(parent, { recursive: true, mode: 0o700 });
    await assertFree(finalPath);
    const directory = mkdtempSync(join(parent, ".s-"));
    const staged = new StagedSocket(directory, finalPath);
    for (const path of [staged.path, finalPath])
      if (Buffer.byteLength(path) > maxSocketPathBytes) {
        staged.discard();
        throw invalidArgument(`socket path ${finalPath} is too long: ${maxSocketPathBytes} bytes at most`);
      }
    return staged;
  }

  /** Gives the bound socket its final name and mode; replaces a socket nobody listens on any more. */
  publish(): void {
    chmodSync(this.path, 0o600);
    renameSync(this.path, this.#finalPath);
    this.discard();
  }

  discard(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

async function assertFree(path: string): Promise<void> {
  const found = statOf(path);
  if (found === undefined) return;
  if (!found.isSocket())
    throw new CricketError("failed-precondition", `${path} exists and is not a socket: remove it`);
  if (await isListening(path))
    throw new CricketError("failed-precondition", `another process listens on ${path}`);
}

function statOf(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw wrapError("look for the socket", error);
  }
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error) => {
      const errno = errnoOf(error);
      if (errno === "ECONNREFUSED" || errno === "ENOENT") resolve(false);
      // Its queue of connections is full: somebody is there.
      else if (errno === "EAGAIN") resolve(true);
      else reject(wrapError(`connect to ${path}`, error));
    });
  });
}

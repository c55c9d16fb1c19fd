// The streaming server's certificate and key, read again when the files have changed: certificates are renewed while
// the daemon runs.
import { readFileSync, statSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { wrapError } from "../base/errors.ts";

export interface TlsPaths {
  /** PEM files. */
  certFile: string;
  keyFile: string;
}

export interface TlsPair {
  cert: Buffer;
  key: Buffer;
}

export class TlsFiles {
  readonly #paths: TlsPaths;
  #seen: string;

  constructor(paths: TlsPaths) {
    this.#paths = paths;
    this.#seen = "";
  }

  /** @throws CricketError when a file cannot be read, or the two do not belong together */
  read(): TlsPair {
    const { certFile, keyFile } = this.#paths;
    try {
      const pair = { cert: readFileSync(certFile), key: readFileSync(keyFile) };
      createSecureContext(pair);
      this.#seen = this.#stamp();
      return pair;
    } catch (error) {
      throw wrapError(`read ${certFile} and ${keyFile}`, error);
    }
  }

  /** The new pair when one of the files is another than at the last read. @throws as `read`, again at each call */
  readChanged(): TlsPair | undefined {
    return this.#stamp() === this.#seen ? undefined : this.read();
  }

  #stamp(): string {
    const { certFile, keyFile } = this.#paths;
    return [certFile, keyFile]
      .map((path) => {
        const found = statSync(path, { bigint: true, throwIfNoEntry: false });
        return found === undefined ? "" : `${found.dev}:${found.ino}:${found.mtimeNs}:${found.size}`;
      })
      .join(" ");
  }
}

// An image's registries: the mirrors and the registry itself, asked in order until one serves.
import { CricketError, hasCode, messageOf } from "../base/errors.ts";
import { isRegistryUnavailable, registryUnavailable, throwIfAborted } from "./registry-errors.ts";
import type { BlobBody, FetchedManifest, RegistryClient } from "./registry-client.ts";

export class ImageSource {
  /** The one that served the manifest comes first: it has the layers too, and perhaps alone. */
  #clients: RegistryClient[];

  constructor(clients: RegistryClient[]) {
    this.#clients = clients;
  }

  /** Throws the errors of RegistryClient.fetchManifest; with mirrors, one error that lists them all. */
  async fetchManifest(target: string, signal: AbortSignal): Promise<FetchedManifest> {
    return this.#first(signal, async (client) => {
      const manifest = await client.fetchManifest(target, signal);
      this.#clients = [client, ...this.#clients.filter((other) => other !== client)];
      return manifest;
    });
  }

  /** What the reference names now, as the first that answers tells; see RegistryClient.headManifest. */
  headManifest(target: string, signal: AbortSignal): Promise<string | undefined> {
    return this.#first(signal, (client) => client.headManifest(target, signal));
  }

  /** A manifest that belongs to the image and lies beside it. Who serves it has not shown that it has the layers. */
  fetchBeside(target: string, signal: AbortSignal): Promise<FetchedManifest> {
    return this.#first(signal, (client) => client.fetchManifest(target, signal));
  }

  fetchBlob(digest: string, limitBytes: number, signal: AbortSignal): Promise<Buffer> {
    return this.#first(signal, (client) => client.fetchBlob(digest, limitBytes, signal));
  }

  openBlob(digest: string, offset: number, signal: AbortSignal): Promise<BlobBody> {
    return this.#first(signal, (client) => client.openBlob(digest, offset, signal));
  }

  async #first<T>(signal: AbortSignal, ask: (client: RegistryClient) => Promise<T>): Promise<T> {
    const failures: unknown[] = [];
    for (const client of this.#clients) {
      try {
        return await ask(client);
      } catch (error) {
        throwIfAborted(signal);
        failures.push(error);
      }
    }
    throw combined(failures);
  }
}

function combined(failures: unknown[]): unknown {
  if (failures.length <= 1) return failures[0];
  const message = failures
    .map((failure) => messageOf(failure).replace(/^RegistryUnavailable: /, ""))
    .join("; ");
  // The image is missing only if all say so; it is unavailable if one of them might have had it.
  if (failures.every((failure) => hasCode(failure, "not-found"))) return failures.at(-1);
  if (failures.some(isRegistryUnavailable)) return registryUnavailable(message, failures.at(-1));
  const last = failures.at(-1);
  return new CricketError(last instanceof CricketError ? last.code : "internal", message, { cause: last });
}

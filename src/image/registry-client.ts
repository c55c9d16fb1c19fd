// One repository on one registry: OCI distribution-spec, the pull half.
import { CricketError, hasCode, messageOf, notFound } from "../base/errors.ts";
import { isSha256Digest } from "../snapshot/chain-id.ts";
import { printable, verifyDigest, digestOf } from "./digest.ts";
import {
  discardBody,
  isDroppedConnection,
  readBody,
  type HttpAnswer,
  type HttpTransport,
} from "./http-transport.ts";
import { manifestAccept } from "./media-types.ts";
import { redact, registryUnavailable, throwIfAborted } from "./registry-errors.ts";
import type { RegistryAuth } from "./registry-auth.ts";
import type { RegistryEndpoint } from "./registries-conf.ts";
import {
  firstRetryDelayMs,
  isPassing,
  requestAttempts,
  retryDelayMs,
  waitBeforeRetry,
} from "./retry-wait.ts";

export interface FetchedManifest {
  bytes: Buffer;
  /** As the registry called it; "" when it did not. */
  contentType: string;
  digest: string;
}

export interface BlobBody {
  bytes: AsyncIterable<Uint8Array>;
  /** Position of the first byte: the offset asked for, or 0 from a registry that ignores ranges. */
  offset: number;
  /** Length of the whole blob where the registry told it. */
  totalBytes: number | undefined;
  /** The error for a body that broke off. */
  explain(error: unknown): CricketError;
}

const manifestLimitBytes = 4 * 1024 * 1024;
export const configLimitBytes = 4 * 1024 * 1024;
const errorBodyLimitBytes = 1024 * 1024;
const redirectLimit = 5;

export interface RegistryClientOptions {
  endpoint: RegistryEndpoint;
  transport: HttpTransport;
  auth: RegistryAuth;
}

interface Ask {
  method: "GET" | "HEAD";
  /** Below the repository. */
  path: string;
  headers: Record<string, string>;
  /** For errors. */
  what: string;
}

/** An answer and where it came from after redirects. */
interface Reply {
  answer: HttpAnswer;
  url: URL;
}

export class RegistryClient {
  readonly endpoint: RegistryEndpoint;
  readonly #transport: HttpTransport;
  readonly #auth: RegistryAuth;
  #base: Promise<URL> | undefined;

  constructor({ endpoint, transport, auth }: RegistryClientOptions) {
    this.endpoint = endpoint;
    this.#transport = transport;
    this.#auth = auth;
  }

  /**
   * Fetches a manifest or index by tag or digest and verifies its digest. Throws not-found, permission-denied,
   * RegistryUnavailable, failed-precondition on a wrong digest, resource-exhausted on a body beyond 4 MiB.
   */
  async fetchManifest(target: string, signal: AbortSignal): Promise<FetchedManifest> {
    const what = `manifest ${target} of ${this.#name()}`;
    const { answer, url } = await this.#get(`manifests/${target}`, what, signal, { accept: manifestAccept });
    const bytes = await this.#read(answer, url, manifestLimitBytes, { what, signal });
    const digest = digestOf(bytes);
    if (target.startsWith("sha256:")) verifyDigest(bytes, target, what);
    const announced = answer.header("docker-content-digest");
    if (announced.startsWith("sha256:")) verifyDigest(bytes, announced, what);
    return { bytes, contentType: answer.header("content-type"), digest };
  }

  /**
   * Asks for the digest of a manifest and fetches nothing: registries that limit pulls do not count it. Undefined where
   * the registry does not tell. Throws as fetchManifest.
   */
  async headManifest(target: string, signal: AbortSignal): Promise<string | undefined> {
    const what = `manifest ${target} of ${this.#name()}`;
    const headers = { accept: manifestAccept };
    try {
      const { answer } = await this.#ask(
        { method: "HEAD", path: `manifests/${target}`, headers, what },
        signal,
      );
      await discardBody(answer.body);
      const digest = answer.header("docker-content-digest");
      return isSha256Digest(digest) ? digest : undefined;
    } catch (error) {
      // Some know GET alone.
      if (hasCode(error, "failed-precondition")) return undefined;
      throw error;
    }
  }

  /** Fetches a small blob whole and verifies its digest. */
  async fetchBlob(digest: string, limitBytes: number, signal: AbortSignal): Promise<Buffer> {
    const what = `blob ${digest} of ${this.#name()}`;
    const { answer, url } = await this.#get(`blobs/${digest}`, what, signal);
    const bytes = await this.#read(answer, url, limitBytes, { what, signal });
    verifyDigest(bytes, digest, what);
    return bytes;
  }

  /** Starts to read a blob at `offset`. The caller verifies what comes. */
  async openBlob(digest: string, offset: number, signal: AbortSignal): Promise<BlobBody> {
    const what = `blob ${digest} of ${this.#name()}`;
    const headers: Record<string, string> = offset === 0 ? {} : { range: `bytes=${offset}-` };
    const { answer, url } = await this.#get(`blobs/${digest}`, what, signal, headers);
    const explain = (error: unknown): CricketError => this.#transport.explain(error, url, signal);
    const length = /^\d+$/.test(answer.header("content-length"))
      ? Number(answer.header("content-length"))
      : undefined;
    if (answer.status !== 206) return { bytes: answer.body, offset: 0, totalBytes: length, explain };
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(answer.header("content-range"));
    if (range === null || Number(range[1]) !== offset) {
      answer.body.destroy();
      throw new CricketError(
        "failed-precondition",
        `${what}: the registry sent another range than asked for`,
      );
    }
    return {
      bytes: answer.body,
      offset,
      totalBytes: range[2] === "*" ? undefined : Number(range[2]),
      explain,
    };
  }

  #name(): string {
    return `${this.endpoint.host}/${this.endpoint.repository}`;
  }

  #get(
    path: string,
    what: string,
    signal: AbortSignal,
    headers: Record<string, string> = {},
  ): Promise<Reply> {
    return this.#ask({ method: "GET", path, headers, what }, signal);
  }

  /** An answer of 200 or 206. Busy and failing registries are asked again, a few times. */
  async #ask(ask: Ask, signal: AbortSignal): Promise<Reply> {
    const base = await this.#baseUrl(signal);
    const url = new URL(`/v2/${this.endpoint.repository}/${ask.path}`, base);
    for (let attempt = 1; ; attempt++) {
      throwIfAborted(signal);
      const reply = await this.#tryAuthorized(url, ask, signal, attempt);
      if (reply?.answer.status === 200 || reply?.answer.status === 206) return reply;
      const delayMs = reply === undefined ? firstRetryDelayMs : retryDelayMs(reply.answer, attempt);
      if (reply !== undefined && delayMs === undefined)
        throw await this.#failure(reply.answer, reply.url, ask.what);
      if (reply !== undefined) await discardBody(reply.answer.body);
      await waitBeforeRetry(delayMs ?? 0, signal);
    }
  }

  /** Undefined when the connection was dropped and another attempt is left. */
  async #tryAuthorized(url: URL, ask: Ask, signal: AbortSignal, attempt: number): Promise<Reply | undefined> {
    try {
      return await this.#authorized(url, ask, signal);
    } catch (error) {
      if (attempt < requestAttempts && isDroppedConnection(error)) return undefined;
      throw error;
    }
  }

  async #authorized(url: URL, ask: Ask, signal: AbortSignal): Promise<Reply> {
    // Twice: a token from the cache may be too old, and then the new one is to be tried.
    for (let answered = 0; ; answered++) {
      const used = this.#auth.authorization();
      const reply = await this.#follow(url, ask, used, signal);
      if (reply.answer.status !== 401 || reply.url.origin !== url.origin) return reply;
      const challenges = reply.answer.headers("www-authenticate");
      await discardBody(reply.answer.body);
      if (answered === 2) throw this.#auth.denied("the credentials are not accepted");
      await this.#auth.answer(used, challenges, { url, signal });
    }
  }

  /** Follows redirects; another origin gets no Authorization header (CVE-2020-15157), and https is never left. */
  async #follow(
    start: URL,
    { method, headers }: Ask,
    authorization: string | undefined,
    signal: AbortSignal,
  ): Promise<Reply> {
    let url = start;
    for (let redirects = 0; ; redirects++) {
      const isOwn = url.origin === start.origin;
      const answer = await this.#transport.request(url, {
        method,
        headers: isOwn && authorization !== undefined ? { ...headers, authorization } : headers,
        signal,
        acceptAnyCertificate: this.endpoint.insecure && url.hostname === start.hostname,
      });
      const location = answer.header("location");
      if (![301, 302, 303, 307, 308].includes(answer.status) || location === "") return { answer, url };
      await discardBody(answer.body);
      if (redirects === redirectLimit)
        throw registryUnavailable(`${start.host} redirects more than ${redirectLimit} times`);
      url = this.#redirected(url, location);
    }
  }

  #redirected(from: URL, location: string): URL {
    const refuse = (why: string): CricketError =>
      new CricketError("failed-precondition", `redirect from ${from.host} refused: ${why}`);
    if (!URL.canParse(location, from.href)) throw refuse("its location is not a URL");
    const url = new URL(location, from);
    if (url.protocol !== "https:" && url.protocol !== "http:") throw refuse(`${url.protocol} is not http`);
    if (url.username !== "" || url.password !== "") throw refuse("its location carries credentials");
    if (from.protocol === "https:" && url.protocol === "http:") throw refuse("it leaves https");
    return url;
  }

  async #read(
    answer: HttpAnswer,
    url: URL,
    limitBytes: number,
    { what, signal }: { what: string; signal: AbortSignal },
  ): Promise<Buffer> {
    try {
      return await readBody(answer.body, limitBytes, what);
    } catch (error) {
      throw this.#transport.explain(error, url, signal);
    }
  }

  /** The scheme to talk: https, or for a registry that is configured as insecure, http where https is not spoken. */
  #baseUrl(signal: AbortSignal): Promise<URL> {
    if (!this.endpoint.insecure) return Promise.resolve(new URL(`https://${this.endpoint.host}`));
    this.#base ??= this.#ping(signal);
    return this.#base;
  }

  async #ping(signal: AbortSignal): Promise<URL> {
    const secure = new URL(`https://${this.endpoint.host}/v2/`);
    try {
      const request = { method: "GET", headers: {}, signal, acceptAnyCertificate: true } as const;
      await discardBody((await this.#transport.request(secure, request)).body);
      return secure;
    } catch (error) {
      throwIfAborted(signal);
      // A registry that accepts the connection and then sends nothing would do the same in plain http.
      if (messageOf(error).includes("sent nothing")) throw error;
      return new URL(`http://${this.endpoint.host}`);
    }
  }

  async #failure(answer: HttpAnswer, url: URL, what: string): Promise<CricketError> {
    const detail = redact(await readErrorDetail(answer), this.#auth.secrets());
    const { status } = answer;
    const where = url.host === this.endpoint.host ? "" : ` at ${url.host}`;
    const message = `${what}: status ${status}${where}${detail}`;
    if (status === 404) return notFound(`${what} does not exist${detail}`);
    if (status === 401 || status === 403) return new CricketError("permission-denied", message);
    if (isPassing(status)) return registryUnavailable(message);
    return new CricketError("failed-precondition", message);
  }
}

/** The first error of the registry's own list, as `: CODE: message`, on one line; "" when it sent none. */
async function readErrorDetail(answer: HttpAnswer): Promise<string> {
  try {
    const text = (await readBody(answer.body, errorBodyLimitBytes, "error")).toString("utf8");
    const body = JSON.parse(text) as { errors?: { code?: unknown; message?: unknown }[] };
    const first = body.errors?.[0];
    if (first === undefined || typeof first.code !== "string") return "";
    return `: ${printable(typeof first.message === "string" ? `${first.code}: ${first.message}` : first.code)}`;
  } catch {
    // The status says what there is to say.
    return "";
  }
}

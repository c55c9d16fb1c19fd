// Answers a registry's challenge for one repository: basic, or a bearer token from the realm that the registry names
// (distribution token specification, and its OAuth2 variant for identity tokens).
import { createHash } from "node:crypto";
import { CricketError } from "../base/errors.ts";
import { parseChallenges, type Challenge } from "./auth-challenge.ts";
import { secretsOf, type Credentials } from "./credentials.ts";
import { discardBody, readBody, type HttpAnswer, type HttpTransport } from "./http-transport.ts";
import { redact, registryUnavailable } from "./registry-errors.ts";
import { isPassing, retryDelayMs, waitBeforeRetry } from "./retry-wait.ts";
import type { TokenCache } from "./token-cache.ts";

export interface RegistryAuthOptions {
  host: string;
  repository: string;
  credentials: Credentials | undefined;
  transport: HttpTransport;
  tokens: TokenCache;
  /** Whether plain http to this host is allowed by the configuration. */
  isInsecure: (host: string) => boolean;
}

/** The request that a challenge answered. */
export interface RequestPlace {
  url: URL;
  signal: AbortSignal;
}

const tokenBodyLimitBytes = 1024 * 1024;
/** The token specification's default, and the least it lets a realm promise. */
const leastLifetimeMs = 60_000;

export class RegistryAuth {
  readonly #options: RegistryAuthOptions;
  /** The cache is shared by all pulls: a token bought with other credentials must not be found in it. */
  readonly #cacheKey: string;
  #basic: string | undefined;
  #answering: Promise<void> | undefined;

  constructor(options: RegistryAuthOptions) {
    this.#options = options;
    const { host, repository, credentials } = options;
    const identity = JSON.stringify([host, repository, credentials ?? null]);
    this.#cacheKey = createHash("sha256").update(identity).digest("hex");
  }

  /** The Authorization header for requests to the registry itself; undefined before the first challenge. */
  authorization(): string | undefined {
    const { credentials, tokens } = this.#options;
    if (credentials?.kind === "bearer") return `Bearer ${credentials.token}`;
    if (this.#basic !== undefined) return this.#basic;
    const token = tokens.get(this.#cacheKey);
    return token === undefined ? undefined : `Bearer ${token}`;
  }

  /** What must not appear in an error about this registry. */
  secrets(): string[] {
    const token = this.#options.tokens.get(this.#cacheKey);
    return [...secretsOf(this.#options.credentials), ...(token === undefined ? [] : [token])];
  }

  /**
   * Takes up the challenge of a 401 that came from the registry itself (never from where it redirected to), sent in
   * answer to `used`. Afterwards `authorization` is worth another try. Throws permission-denied when there is none.
   */
  async answer(used: string | undefined, challengeLines: readonly string[], at: RequestPlace): Promise<void> {
    // Layers are asked for side by side: what one of them found out serves all.
    if (this.#answering !== undefined) return this.#answering;
    const current = this.authorization();
    if (current !== undefined && current !== used) return;
    this.#answering = this.#answerAfresh(parseChallenges(challengeLines), at).finally(() => {
      this.#answering = undefined;
    });
    return this.#answering;
  }

  /** The error for a registry that keeps asking after it was answered. */
  denied(why: string): CricketError {
    const { host, repository } = this.#options;
    const message = `pull of ${repository} from ${host} denied: ${why}`;
    return new CricketError("permission-denied", redact(message, this.secrets()));
  }

  async #answerAfresh(challenges: Challenge[], at: RequestPlace): Promise<void> {
    const { credentials, tokens, host } = this.#options;
    tokens.delete(this.#cacheKey);
    if (credentials?.kind === "bearer" || this.#basic !== undefined)
      throw this.denied("the credentials are not accepted");
    const bearer = challenges.find(({ scheme }) => scheme === "bearer");
    if (bearer !== undefined) return this.#fetchToken(bearer, at);
    if (!challenges.some(({ scheme }) => scheme === "basic"))
      throw this.denied(`${host} asks for authentication without a scheme known here`);
    if (credentials?.kind !== "password") throw this.denied("credentials are needed");
    this.#basic = basicOf(credentials);
  }

  async #fetchToken(challenge: Challenge, { url: base, signal }: RequestPlace): Promise<void> {
    const realm = this.#realmOf(challenge, base);
    const answer = await this.#askPatiently(realm, challenge, signal);
    const what = `token of ${realm.host}`;
    if (answer.status !== 200) {
      await discardBody(answer.body);
      if (isPassing(answer.status)) throw registryUnavailable(`${what}: status ${answer.status}`);
      throw this.denied(`${what}: status ${answer.status}`);
    }
    const { token, lifetimeMs } = parseToken(await this.#readToken(answer, realm, signal), what);
    this.#options.tokens.set(this.#cacheKey, token, lifetimeMs);
  }

  async #readToken(answer: HttpAnswer, realm: URL, signal: AbortSignal): Promise<Buffer> {
    try {
      return await readBody(answer.body, tokenBodyLimitBytes, `token of ${realm.host}`);
    } catch (error) {
      throw this.#options.transport.explain(error, realm, signal);
    }
  }

  /**
   * The realm is the registry's choice, and that registry gets the credentials anyway. What it must not do is have
   * them sent in the clear, where everyone on the way can read them.
   */
  #realmOf(challenge: Challenge, base: URL): URL {
    const text = challenge.parameters.get("realm") ?? "";
    const realm = URL.canParse(text) ? new URL(text) : undefined;
    if (realm === undefined || realm.username !== "" || realm.password !== "")
      throw this.denied(`${this.#options.host} names no usable token realm`);
    if (realm.protocol === "https:") return realm;
    const isKnown = realm.hostname === base.hostname || this.#options.isInsecure(realm.host);
    if (realm.protocol === "http:" && base.protocol === "http:" && isKnown) return realm;
    throw this.denied(
      `the token realm ${realm.protocol}//${realm.host} is not https and not configured as insecure`,
    );
  }

  /** Token services have limits of their own, and restart as registries do. */
  async #askPatiently(realm: URL, challenge: Challenge, signal: AbortSignal): Promise<HttpAnswer> {
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#ask(realm, challenge, signal);
      const delayMs = retryDelayMs(answer, attempt);
      if (delayMs === undefined) return answer;
      await discardBody(answer.body);
      await waitBeforeRetry(delayMs, signal);
    }
  }

  #ask(realm: URL, challenge: Challenge, signal: AbortSignal): Promise<HttpAnswer> {
    const { credentials, transport, repository, isInsecure } = this.#options;
    const service = challenge.parameters.get("service");
    const scope = challenge.parameters.get("scope") ?? `repository:${repository}:pull`;
    const fields = new URLSearchParams(service === undefined ? { scope } : { service, scope });
    const shared = { signal, acceptAnyCertificate: isInsecure(realm.host) };
    const headers: Record<string, string> = { accept: "application/json" };
    if (credentials?.kind === "identity-token") {
      fields.set("grant_type", "refresh_token");
      fields.set("refresh_token", credentials.token);
      fields.set("client_id", "cricket");
      headers["content-type"] = "application/x-www-form-urlencoded";
      return transport.request(realm, { ...shared, method: "POST", headers, body: fields.toString() });
    }
    if (credentials?.kind === "password") {
      fields.set("account", credentials.username);
      headers["authorization"] = basicOf(credentials);
    }
    const url = new URL(realm);
    for (const [name, value] of fields) url.searchParams.append(name, value);
    return transport.request(url, { ...shared, method: "GET", headers });
  }
}

function basicOf(credentials: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString("base64")}`;
}

function parseToken(body: Buffer, what: string): { token: string; lifetimeMs: number } {
  let answer: { token?: unknown; access_token?: unknown; expires_in?: unknown };
  try {
    answer = JSON.parse(body.toString("utf8")) as typeof answer;
  } catch {
    answer = {};
  }
  const token = answer.token ?? answer.access_token;
  // It goes into a header line.
  if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token))
    throw registryUnavailable(`${what}: the answer holds no token`);
  const seconds = answer.expires_in;
  const isUsable = typeof seconds === "number" && seconds > 0 && seconds < 31_536_000;
  return { token, lifetimeMs: isUsable ? Math.max(seconds * 1000, leastLifetimeMs) : leastLifetimeMs };
}

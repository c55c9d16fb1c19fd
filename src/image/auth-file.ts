// containers-auth.json(5) and Docker's config.json: credentials for pulls that bring none of their own.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { CricketError, errnoOf, invalidArgument } from "../base/errors.ts";
import { decodeBasic, type Credentials } from "./credentials.ts";
import { registryHostOf } from "./registry-host.ts";

export interface AuthFile {
  path: string;
  /** Key "host[:port][/namespace...]" to what the file holds for it. */
  auths: Map<string, Credentials>;
  /** Host to the name of a credential helper, `docker-credential-<name>`. */
  helpers: Map<string, string>;
}

const helperTimeoutMs = 20_000;
const helperOutputLimit = 64 * 1024;

/** Undefined when there is no such file. Throws invalid-argument that names file and key, never a value. */
export async function loadAuthFile(path: string): Promise<AuthFile | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT" || errno === "ENOTDIR") return undefined;
    throw error;
  }
  return parseAuthFile(text, path);
}

export function parseAuthFile(text: string, path: string): AuthFile {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    // The parser's own message would quote a piece of the file.
    throw invalidArgument(`${path}: not JSON`);
  }
  const { auths, credHelpers } = object(document, path, "the document");
  const file: AuthFile = { path, auths: new Map(), helpers: new Map() };
  for (const [key, entry] of Object.entries(object(auths ?? {}, path, "auths"))) {
    const credentials = parseEntry(
      object(entry, path, `auths[${JSON.stringify(key)}]`),
      `${path}: auths of ${key}`,
    );
    if (credentials !== undefined) file.auths.set(normaliseKey(key), credentials);
  }
  for (const [host, name] of Object.entries(object(credHelpers ?? {}, path, "credHelpers"))) {
    if (typeof name !== "string" || !/^[\w.-]+$/.test(name))
      throw invalidArgument(`${path}: credHelpers of ${host}`);
    file.helpers.set(normaliseKey(host), name);
  }
  return file;
}

/**
 * The credentials for a repository on a host: the longest key that is a path prefix of it, else the host's helper.
 * `domain` is how references name that host ("docker.io").
 */
export async function findCredentials(
  files: readonly AuthFile[],
  domain: string,
  repository: string,
): Promise<Credentials | undefined> {
  for (const file of files) {
    const host = registryHostOf(domain);
    for (
      let key = `${host}/${repository}`;
      key !== "";
      key = key.slice(0, Math.max(0, key.lastIndexOf("/")))
    ) {
      const found = file.auths.get(key);
      if (found !== undefined) return found;
    }
    const helper = file.helpers.get(host);
    if (helper !== undefined) return askHelper(helper, domain);
  }
  return undefined;
}

function parseEntry(entry: Record<string, unknown>, where: string): Credentials | undefined {
  const field = (name: string): string => {
    const value = entry[name] ?? "";
    if (typeof value === "string") return value;
    throw invalidArgument(`${where}: ${name} is not a string`);
  };
  if (field("identitytoken") !== "") return { kind: "identity-token", token: field("identitytoken") };
  if (field("registrytoken") !== "") return { kind: "bearer", token: field("registrytoken") };
  if (field("auth") !== "") return decodeBasic(field("auth"), `${where}: auth`);
  if (field("username") === "") return undefined;
  return { kind: "password", username: field("username"), password: field("password") };
}

// Docker writes URLs ("https://index.docker.io/v1/"), podman plain names with namespaces.
function normaliseKey(key: string): string {
  const isUrl = /^https?:\/\//i.test(key);
  const bare = key.replace(/^https?:\/\//i, "").replace(/\/+$/, "");
  const [host = "", ...path] = bare.split("/");
  const rest = isUrl ? path.filter((part) => part !== "v1" && part !== "v2") : path;
  return [registryHostOf(host.toLowerCase()), ...rest].join("/");
}

/** The protocol of docker-credential-helpers: server on stdin, JSON with Username and Secret on stdout. */
function askHelper(name: string, domain: string): Promise<Credentials | undefined> {
  const server = domain === "docker.io" ? "https://index.docker.io/v1/" : domain;
  return new Promise((resolve, reject) => {
    const limits = { timeout: helperTimeoutMs, maxBuffer: helperOutputLimit };
    const child = execFile(`docker-credential-${name}`, ["get"], limits, (error, stdout) => {
      if (error === null) return resolve(parseHelperAnswer(stdout, name));
      if (/credentials not found/i.test(stdout)) return resolve(undefined);
      const why = errnoOf(error) ?? (error.killed === true ? "no answer" : `status ${String(error.code)}`);
      reject(new CricketError("unavailable", `credential helper ${name} for ${domain}: ${why}`));
    });
    // A helper that ends without reading is told apart by its status, not by EPIPE here.
    child.stdin?.on("error", () => {});
    child.stdin?.end(server);
  });
}

function parseHelperAnswer(text: string, name: string): Credentials {
  let answer: { Username?: unknown; Secret?: unknown };
  try {
    answer = JSON.parse(text) as typeof answer;
  } catch {
    answer = {};
  }
  if (typeof answer.Username !== "string" || typeof answer.Secret !== "string")
    throw new CricketError("unavailable", `credential helper ${name}: its answer is not credentials`);
  if (answer.Username === "<token>") return { kind: "identity-token", token: answer.Secret };
  return { kind: "password", username: answer.Username, password: answer.Secret };
}

function object(value: unknown, path: string, key: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw invalidArgument(`${path}: ${key} is not an object`);
}

// containers-auth.json(5) and Docker's config.json: credentials for pulls that bring none of their own.
import { readFile } from "node:fs/promises";
import { type CricketError, errnoOf, invalidArgument, wrapError } from "../base/errors.ts";
import { askCredentialHelper, isHelperName } from "./credential-helper.ts";
import { decodeBasic, type Credentials } from "./credentials.ts";
import { registryHostOf } from "./registry-host.ts";

export interface AuthFile {
  path: string;
  /** Key "host[:port][/namespace...]" to what the file holds for it. */
  auths: Map<string, Credentials>;
  /** Host to the name of a credential helper. */
  helpers: Map<string, string>;
}

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
  const { auths, credHelpers, credsStore } = object(document, path, "the document");
  const store =
    credsStore === undefined || credsStore === "" ? undefined : helperName(credsStore, `${path}: credsStore`);
  const file: AuthFile = { path, auths: new Map(), helpers: new Map() };
  for (const [key, entry] of Object.entries(object(auths ?? {}, path, "auths"))) {
    const credentials = parseEntry(
      object(entry, path, `auths[${JSON.stringify(key)}]`),
      `${path}: auths of ${key}`,
    );
    if (credentials !== undefined) file.auths.set(normaliseKey(key), credentials);
    // What `docker login` leaves in the file where the store has the rest.
    else if (store !== undefined) file.helpers.set(normaliseKey(key), store);
  }
  for (const [host, name] of Object.entries(object(credHelpers ?? {}, path, "credHelpers")))
    file.helpers.set(normaliseKey(host), helperName(name, `${path}: credHelpers of ${host}`));
  return file;
}

export interface CredentialSources {
  files: readonly AuthFile[];
  /** `credential-helpers` of registries.conf: names of helpers, and `authFilesHelper` where the files have their turn. */
  helpers: readonly string[];
}

/** containers-registries.conf(5): the name that stands for the files. */
export const authFilesHelper = "containers-auth.json";

/**
 * The credentials for a repository on a host, of the first source that has some; undefined when none has. A source that
 * fails is passed over if another one has credentials. `domain` is how references name that host ("docker.io").
 */
export async function findCredentials(
  { files, helpers }: CredentialSources,
  domain: string,
  repository: string,
): Promise<Credentials | undefined> {
  let failure: CricketError | undefined;
  for (const helper of helpers) {
    try {
      const found = await (helper === authFilesHelper
        ? findInFiles(files, domain, repository)
        : askCredentialHelper(helper, domain));
      if (found !== undefined) return found;
    } catch (error) {
      failure ??= wrapError(`credentials for ${domain}`, error);
    }
  }
  if (failure !== undefined) throw failure;
  return undefined;
}

/** In each file its helper for the host comes first, as in Docker, then the longest key that is a path prefix. */
async function findInFiles(
  files: readonly AuthFile[],
  domain: string,
  repository: string,
): Promise<Credentials | undefined> {
  const host = registryHostOf(domain.toLowerCase());
  for (const file of files) {
    const helper = file.helpers.get(host);
    const found = helper === undefined ? undefined : await askCredentialHelper(helper, domain);
    if (found !== undefined) return found;
    for (
      let key = `${host}/${repository}`;
      key !== "";
      key = key.slice(0, Math.max(0, key.lastIndexOf("/")))
    ) {
      const entry = file.auths.get(key);
      if (entry !== undefined) return entry;
    }
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

function helperName(value: unknown, where: string): string {
  if (typeof value === "string" && isHelperName(value)) return value;
  throw invalidArgument(`${where}: not the name of a credential helper`);
}

function object(value: unknown, path: string, key: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw invalidArgument(`${path}: ${key} is not an object`);
}

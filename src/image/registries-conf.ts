// containers-registries.conf(5), version 2: where the images of a name are really fetched from.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse as parseToml } from "smol-toml";
import { CricketError, errnoOf, invalidArgument, messageOf } from "../base/errors.ts";
import { authFilesHelper } from "./auth-file.ts";
import { isHelperName } from "./credential-helper.ts";
import {
  formatReference,
  isRegistryHost,
  isRepositoryPath,
  isShortName,
  parseReference,
  repositoryOf,
  type ImageReference,
} from "./reference.ts";
import { registryHostOf } from "./registry-host.ts";

export interface RegistryMirror {
  /** "host[:port][/path]". */
  location: string;
  insecure: boolean;
  pullFrom: "all" | "digest-only" | "tag-only";
}

export interface RegistryEntry {
  /** "host[:port][/path[:tag|@digest]]" or "*.domain". */
  prefix: string;
  /** What takes the place of the prefix; "" with a wildcard prefix, where nothing is replaced. */
  location: string;
  insecure: boolean;
  blocked: boolean;
  mirrors: RegistryMirror[];
}

export interface RegistriesConf {
  /** By prefix. */
  entries: Map<string, RegistryEntry>;
  /** Registries to try for a short name, in order. Empty: docker.io, as Docker and containerd do. */
  searchRegistries: string[];
  /** Short name (no tag) to "domain/path". */
  aliases: Map<string, string>;
  /** Where credentials are looked for, in order; see CredentialSources. */
  credentialHelpers: string[];
}

/** One place to ask for an image. */
export interface RegistryEndpoint {
  /** Host with port if any: where requests go. */
  host: string;
  /** Repository path on that host. */
  repository: string;
  /** Plain http and unverified certificates are allowed: only where the file says so. */
  insecure: boolean;
}

export function emptyRegistriesConf(): RegistriesConf {
  return {
    entries: new Map(),
    searchRegistries: [],
    aliases: new Map(),
    credentialHelpers: [authFilesHelper],
  };
}

/**
 * Reads `path` and then `<path>.d/*.conf` in the order of their names; later files win, entry by entry. Missing files
 * are fine. Throws invalid-argument that names file and key.
 */
export async function loadRegistriesConf(path: string): Promise<RegistriesConf> {
  const conf = emptyRegistriesConf();
  for (const file of [path, ...(await dropIns(`${path}.d`))]) {
    const text = await readOptional(file);
    if (text !== undefined) mergeRegistriesConf(conf, text, file);
  }
  return conf;
}

/** Adds the content of one file to `conf`. */
export function mergeRegistriesConf(conf: RegistriesConf, text: string, file: string): void {
  const document = parseDocument(text, file);
  if ("registries" in document)
    throw invalidArgument(`${file}: registries: the format of version 1 is not supported`);
  for (const entry of tables(document["registry"], file, "registry")) {
    const parsed = parseEntry(entry, file);
    conf.entries.set(parsed.prefix, parsed);
  }
  const search = document["unqualified-search-registries"];
  if (search !== undefined) conf.searchRegistries = strings(search, file, "unqualified-search-registries");
  const helpers = document["credential-helpers"];
  if (helpers !== undefined) conf.credentialHelpers = helperNames(helpers, file);
  const aliases = document["aliases"];
  if (aliases === undefined) return;
  for (const [name, target] of Object.entries(table(aliases, file, "aliases"))) {
    const value = string(target, file, `aliases.${name}`);
    // An empty value takes back an alias of an earlier file.
    if (value === "") conf.aliases.delete(name);
    else conf.aliases.set(name, value);
  }
}

/** The references that a text may mean, best first: an alias, the search registries, or docker.io. */
export function candidateReferences(conf: RegistriesConf, text: string): ImageReference[] {
  const reference = parseReference(text);
  if (!isShortName(text)) return [reference];
  const [shortPath = ""] = text.split(/[:@]/, 1);
  const suffix = text.slice(shortPath.length);
  const alias = conf.aliases.get(shortPath);
  if (alias !== undefined) return [parseReference(`${alias}${suffix}`)];
  if (conf.searchRegistries.length === 0) return [reference];
  return conf.searchRegistries.map((registry) => parseReference(`${registry}/${shortPath}${suffix}`));
}

/**
 * Where to pull a reference from, in order: the mirrors that serve its kind, then its own location. Throws
 * permission-denied when the configuration blocks it.
 */
export function pullEndpoints(conf: RegistriesConf, reference: ImageReference): RegistryEndpoint[] {
  const name = repositoryOf(reference);
  const entry = findEntry(conf, formatReference(reference), reference.domain);
  if (entry === undefined) return [endpointAt(name, false)];
  if (entry.blocked)
    throw new CricketError("permission-denied", `registry ${entry.prefix} is blocked in registries.conf`);
  const kind = reference.digest === undefined ? "tag-only" : "digest-only";
  const mirrors = entry.mirrors.filter(({ pullFrom }) => pullFrom === "all" || pullFrom === kind);
  return [
    ...mirrors.map(({ location, insecure }) =>
      endpointAt(relocate(entry, location, name, reference), insecure),
    ),
    endpointAt(relocate(entry, entry.location, name, reference), entry.insecure),
  ];
}

/** True when plain http to this host is allowed by an entry or a mirror for the whole host. */
export function isInsecureHost(conf: RegistriesConf, host: string): boolean {
  for (const entry of conf.entries.values()) {
    if (entry.insecure && (entry.location || entry.prefix) === host) return true;
    if (entry.mirrors.some((mirror) => mirror.insecure && mirror.location === host)) return true;
  }
  return false;
}

function findEntry(conf: RegistriesConf, full: string, domain: string): RegistryEntry | undefined {
  let best: RegistryEntry | undefined;
  for (const entry of conf.entries.values())
    if (matches(entry.prefix, full, domain) && entry.prefix.length > (best?.prefix.length ?? -1))
      best = entry;
  return best;
}

function matches(prefix: string, full: string, domain: string): boolean {
  if (prefix.startsWith("*.")) return domain.replace(/:\d+$/, "").endsWith(prefix.slice(1));
  if (!full.startsWith(prefix)) return false;
  const next = full[prefix.length];
  return next === undefined || next === "/" || next === ":" || next === "@";
}

function relocate(entry: RegistryEntry, location: string, name: string, reference: ImageReference): string {
  if (location === "") return name;
  // A mirror of a wildcard stands for the host; a mirror of a prefix for the prefix.
  const replaced = entry.prefix.startsWith("*.") ? reference.domain.length : entry.prefix.length;
  return location + name.slice(replaced);
}

function endpointAt(name: string, insecure: boolean): RegistryEndpoint {
  const slash = name.indexOf("/");
  const repository = slash === -1 ? "" : name.slice(slash + 1);
  const host = registryHostOf(slash === -1 ? name : name.slice(0, slash));
  // The rewritten name goes into URLs: it must be as strict as what a user may write.
  if (!isRegistryHost(host) || !isRepositoryPath(repository))
    throw invalidArgument(`registries.conf turns the image's name into ${name}, which is not a repository`);
  return { host, repository, insecure };
}

function helperNames(value: unknown, file: string): string[] {
  const names = strings(value, file, "credential-helpers");
  const wrong = names.find((name) => !isHelperName(name));
  if (wrong !== undefined) throw invalidArgument(`${file}: credential-helpers: ${JSON.stringify(wrong)}`);
  return names.length === 0 ? [authFilesHelper] : names;
}

function parseEntry(entry: Record<string, unknown>, file: string): RegistryEntry {
  const location = locationOf(entry["location"], file, "registry.location");
  const prefix = locationOf(entry["prefix"], file, "registry.prefix") || location;
  if (prefix === "") throw invalidArgument(`${file}: registry: neither prefix nor location is set`);
  const wildcard = prefix.startsWith("*.");
  if (prefix.includes("*") && (!wildcard || prefix.lastIndexOf("*") > 0 || prefix.includes("/")))
    throw invalidArgument(`${file}: registry.prefix ${prefix}: a wildcard is *.domain and nothing else`);
  if (!wildcard && location === "") throw invalidArgument(`${file}: registry ${prefix}: location is not set`);
  const digestOnly = boolean(entry["mirror-by-digest-only"], file, "registry.mirror-by-digest-only");
  return {
    prefix,
    location,
    insecure: boolean(entry["insecure"], file, "registry.insecure"),
    blocked: boolean(entry["blocked"], file, "registry.blocked"),
    mirrors: tables(entry["mirror"], file, "registry.mirror").map((mirror) =>
      parseMirror(mirror, digestOnly, file),
    ),
  };
}

function parseMirror(mirror: Record<string, unknown>, digestOnly: boolean, file: string): RegistryMirror {
  const location = locationOf(mirror["location"], file, "registry.mirror.location");
  if (location === "") throw invalidArgument(`${file}: registry.mirror.location is not set`);
  const given = mirror["pull-from-mirror"];
  const pullFrom = given === undefined ? "all" : string(given, file, "registry.mirror.pull-from-mirror");
  if (pullFrom !== "all" && pullFrom !== "digest-only" && pullFrom !== "tag-only")
    throw invalidArgument(
      `${file}: registry.mirror.pull-from-mirror ${pullFrom}: not all, digest-only or tag-only`,
    );
  return {
    location,
    insecure: boolean(mirror["insecure"], file, "registry.mirror.insecure"),
    pullFrom: digestOnly ? "digest-only" : pullFrom,
  };
}

function locationOf(value: unknown, file: string, key: string): string {
  if (value === undefined) return "";
  const text = string(value, file, key).replace(/\/+$/, "");
  if (/^\w+:\/\//.test(text)) throw invalidArgument(`${file}: ${key} ${text}: must not have a scheme`);
  return text;
}

async function dropIns(directory: string): Promise<string[]> {
  try {
    const names = await readdir(directory);
    return names
      .filter((name) => name.endsWith(".conf"))
      .sort()
      .map((name) => join(directory, name));
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}

async function readOptional(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function parseDocument(text: string, file: string): Record<string, unknown> {
  try {
    return parseToml(text);
  } catch (error) {
    throw new CricketError("invalid-argument", `${file}: ${messageOf(error).split("\n", 1)[0]}`, {
      cause: error,
    });
  }
}

function table(value: unknown, file: string, key: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw invalidArgument(`${file}: ${key} is not a table`);
}

function tables(value: unknown, file: string, key: string): Record<string, unknown>[] {
  if (value === undefined) return [];
  if (!Array.isArray(value))
    throw invalidArgument(`${file}: ${key} is not a list of tables: write [[${key}]]`);
  return value.map((item) => table(item, file, key));
}

function string(value: unknown, file: string, key: string): string {
  if (typeof value === "string") return value;
  throw invalidArgument(`${file}: ${key} is not a string`);
}

function strings(value: unknown, file: string, key: string): string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  throw invalidArgument(`${file}: ${key} is not a list of strings`);
}

function boolean(value: unknown, file: string, key: string): boolean {
  if (value === undefined) return false;
  if (typeof value === "boolean") return value;
  throw invalidArgument(`${file}: ${key} is not true or false`);
}

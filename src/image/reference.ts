// Image references: `[domain/]path[:tag][@digest]`, read the way the Docker and Kubernetes world reads them.
import { invalidArgument } from "../base/errors.ts";
import { isSha256Digest } from "../snapshot/chain-id.ts";
import { printable } from "./digest.ts";

export interface ImageReference {
  /** "docker.io", "registry.example.com:5000", "[::1]:5000". */
  domain: string;
  /** "library/busybox". */
  path: string;
  tag?: string;
  /** "sha256:<hex>". Where there is a tag too, the digest decides what is pulled. */
  digest?: string;
}

const component = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
const pathPattern = new RegExp(`^${component}(?:/${component})*$`);
const label = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
const domainPattern = new RegExp(`^(?:${label}(?:\\.${label})*|\\[[a-fA-F0-9:]{2,45}\\])(?::[0-9]{1,5})?$`);
const tagPattern = /^\w[\w.-]{0,127}$/;

/** The longest `domain/path` that registries accept. */
const nameLengthLimit = 255;

/**
 * Parses a reference and completes it: no domain means docker.io, a single component there means `library/`, neither
 * tag nor digest means `:latest`. Throws invalid-argument that quotes the reference.
 * Grammar: OCI distribution-spec, "pulling manifests", with the defaults that Docker introduced.
 */
export function parseReference(text: string): ImageReference {
  const at = text.indexOf("@");
  const digest = at === -1 ? undefined : text.slice(at + 1);
  const { name, tag } = splitTag(at === -1 ? text : text.slice(0, at));
  const { domain, path } = splitDomain(name);
  const why = faultOf({ name, domain, path, tag, digest });
  if (why !== undefined) throw invalidArgument(`image reference ${printable(text)}: ${why}`);
  const reference: ImageReference = { domain, path };
  if (digest !== undefined) reference.digest = digest;
  if (tag !== undefined) reference.tag = tag;
  else if (digest === undefined) reference.tag = "latest";
  return reference;
}

interface ReferenceParts {
  name: string;
  domain: string;
  path: string;
  tag: string | undefined;
  digest: string | undefined;
}

/** What is wrong with the parts of a reference; undefined when nothing is. */
function faultOf({ name, domain, path, tag, digest }: ReferenceParts): string | undefined {
  if (digest !== undefined && !isSha256Digest(digest)) return "the part after @ is not a sha256 digest";
  if (tag !== undefined && !tagPattern.test(tag)) return "the tag is not valid";
  if (!domainPattern.test(domain)) return "the registry is not a host name";
  if (!pathPattern.test(path)) return "the repository is not valid: lower case letters, digits, . _ - and /";
  if (domain.length + 1 + path.length > nameLengthLimit) return `longer than ${nameLengthLimit} characters`;
  // Taken for an image id by every tool that prints it.
  return /^[0-9a-f]{64}$/.test(name) ? "64 hexadecimal characters are an image id" : undefined;
}

/** Like parseReference, undefined where that throws: for text that may be an id instead. */
export function tryParseReference(text: string): ImageReference | undefined {
  try {
    return parseReference(text);
  } catch {
    return undefined;
  }
}

/** The inverse of parseReference, in full form: `docker.io/library/busybox:1.36@sha256:...`. */
export function formatReference(reference: ImageReference): string {
  const tag = reference.tag === undefined ? "" : `:${reference.tag}`;
  const digest = reference.digest === undefined ? "" : `@${reference.digest}`;
  return `${repositoryOf(reference)}${tag}${digest}`;
}

/** `docker.io/library/busybox`. */
export function repositoryOf(reference: ImageReference): string {
  return `${reference.domain}/${reference.path}`;
}

/** True when the text names no registry, so that it is the configuration's to say which one is meant. */
export function isShortName(text: string): boolean {
  const name = splitTag(text.split("@", 1)[0] ?? "").name;
  return explicitDomain(name) === undefined;
}

/** True for "host[:port]" as a registry location has it. */
export function isRegistryHost(text: string): boolean {
  return domainPattern.test(text);
}

/** True for a repository path that may stand in a registry URL. */
export function isRepositoryPath(text: string): boolean {
  return pathPattern.test(text) && text.length <= nameLengthLimit;
}

function splitTag(text: string): { name: string; tag: string | undefined } {
  const colon = text.lastIndexOf(":");
  // A colon before the last slash belongs to a port.
  if (colon === -1 || text.indexOf("/", colon) !== -1) return { name: text, tag: undefined };
  return { name: text.slice(0, colon), tag: text.slice(colon + 1) };
}

function splitDomain(name: string): { domain: string; path: string } {
  const given = explicitDomain(name);
  const path = given === undefined ? name : name.slice(given.length + 1);
  const domain = given === undefined || given === "index.docker.io" ? "docker.io" : given;
  return { domain, path: domain === "docker.io" && !path.includes("/") ? `library/${path}` : path };
}

// What stands before the first slash is a registry only if it cannot be a path component of Docker Hub.
function explicitDomain(name: string): string | undefined {
  const slash = name.indexOf("/");
  if (slash === -1) return undefined;
  const first = name.slice(0, slash);
  return /[.:A-Z]/.test(first) || first === "localhost" ? first : undefined;
}

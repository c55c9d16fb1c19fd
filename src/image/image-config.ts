// The image configuration: what an image says about running it (OCI image-spec config.md; Docker's is the same).
import { CricketError } from "../base/errors.ts";
import { isSha256Digest } from "../snapshot/chain-id.ts";
import { printable } from "./digest.ts";

/** Execution parameters, normalised: what the image does not say is empty. */
export interface ImageConfig {
  /** "", "uid", "name", "uid:gid", "name:group" ...: unchecked, whoever starts a container resolves it. */
  user: string;
  /** "KEY=value". */
  env: string[];
  entrypoint: string[];
  cmd: string[];
  workingDir: string;
  /** A signal's name or number as the image has it; "" for none. */
  stopSignal: string;
  /** Paths, in the image's order. */
  volumes: string[];
  labels: Record<string, string>;
  /** "80/tcp". */
  exposedPorts: string[];
}

export interface ImageDocument {
  os: string;
  architecture: string;
  variant: string;
  /** RFC 3339, or "". */
  created: string;
  config: ImageConfig;
  /** "sha256:<hex>" of each uncompressed layer, base first. */
  diffIds: string[];
}

type Json = Record<string, unknown>;

/** Parses an image configuration. Throws failed-precondition that names the property: the image is unusable. */
export function parseImageDocument(bytes: Uint8Array): ImageDocument {
  const document = object(parseJson(bytes), "image config");
  const config = object(document["config"] ?? {}, "config");
  const rootfs = object(document["rootfs"], "rootfs");
  if (rootfs["type"] !== "layers") throw unusable("rootfs.type", rootfs["type"], "layers");
  return {
    os: text(document["os"], "os"),
    architecture: text(document["architecture"], "architecture"),
    variant: text(document["variant"], "variant"),
    created: text(document["created"], "created"),
    config: parseConfig(config),
    diffIds: parseDiffIds(rootfs["diff_ids"]),
  };
}

/** The part of USER that the CRI reports: a number is a uid, all else a name. Both are absent for "". */
export function imageUser(user: string): { uid?: number; username: string } {
  const name = user.split(":", 1)[0] ?? "";
  // Beyond 2^31-1 a uid would wrap around on its way into the kernel (CVE-2024-40635): not a uid for anyone.
  if (/^\d{1,10}$/.test(name) && Number(name) <= 2_147_483_647) return { uid: Number(name), username: "" };
  return { username: name };
}

function parseConfig(config: Json): ImageConfig {
  return {
    user: text(config["User"], "config.User"),
    env: texts(config["Env"], "config.Env"),
    entrypoint: texts(config["Entrypoint"], "config.Entrypoint"),
    cmd: texts(config["Cmd"], "config.Cmd"),
    workingDir: text(config["WorkingDir"], "config.WorkingDir"),
    stopSignal: text(config["StopSignal"], "config.StopSignal"),
    volumes: Object.keys(object(config["Volumes"] ?? {}, "config.Volumes")),
    labels: textMap(config["Labels"], "config.Labels"),
    exposedPorts: Object.keys(object(config["ExposedPorts"] ?? {}, "config.ExposedPorts")),
  };
}

function parseDiffIds(value: unknown): string[] {
  const diffIds = texts(value, "rootfs.diff_ids");
  for (const diffId of diffIds)
    if (!isSha256Digest(diffId)) throw unusable("rootfs.diff_ids", diffId, "a sha256 digest");
  return diffIds;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown;
  } catch (error) {
    throw new CricketError("failed-precondition", "image config is not JSON in UTF-8", { cause: error });
  }
}

function object(value: unknown, name: string): Json {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw unusable(name, value, "an object");
}

function text(value: unknown, name: string): string {
  if (value === undefined || value === null) return "";
  if (typeof value === "string") return value;
  throw unusable(name, value, "a string");
}

// Go writes an empty list as null.
function texts(value: unknown, name: string): string[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  throw unusable(name, value, "a list of strings");
}

function textMap(value: unknown, name: string): Record<string, string> {
  const entries = Object.entries(object(value ?? {}, name));
  for (const [key, item] of entries)
    if (typeof item !== "string") throw unusable(`${name}[${printable(key)}]`, item, "a string");
  return Object.fromEntries(entries) as Record<string, string>;
}

function unusable(name: string, value: unknown, wanted: string): CricketError {
  return new CricketError(
    "failed-precondition",
    `image config: ${name} is ${printable(value)}, not ${wanted}`,
  );
}

// containers-policy.json(5): which images may be used at all. A requirement that cannot be checked here (signedBy, and
// sigstoreSigned by certificates or with a transparency log) refuses the pull, because ignoring it would accept what the
// operator forbade.
import { readFile } from "node:fs/promises";
import { CricketError, errnoOf, invalidArgument } from "../base/errors.ts";
import { formatReference, repositoryOf, type ImageReference } from "./reference.ts";
import { parseSignedIdentity, type SignedIdentity } from "./signed-identity.ts";

/** One signature by one of the keys; see check-signatures.ts. */
export interface SigstoreRequirement {
  type: "sigstoreSigned";
  keyPaths: string[];
  /** In PEM. */
  keyData: Buffer[];
  identity: SignedIdentity;
}

export type PolicyRequirement =
  | { type: "insecureAcceptAnything" }
  | { type: "reject" }
  | SigstoreRequirement
  /** `what` cannot be checked here. */
  | { type: "unsupported"; what: string };

export interface SignaturePolicy {
  default: PolicyRequirement[];
  /** Scope of the docker transport to its requirements; "" is the transport's own default. */
  scopes: Map<string, PolicyRequirement[]>;
}

/** kubelet reads this prefix and tells the user ErrSignatureValidationFailed. */
const failedPrefix = "SignatureValidationFailed";

/** Undefined when the file does not exist: then everything is accepted. Throws invalid-argument naming file and key. */
export async function loadSignaturePolicy(file: string): Promise<SignaturePolicy | undefined> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
  return parseSignaturePolicy(text, file);
}

export function parseSignaturePolicy(text: string, file: string): SignaturePolicy {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new CricketError("invalid-argument", `${file}: not JSON`, { cause: error });
  }
  const { default: fallback, transports } = object(document, file, "the document");
  const docker = object(
    object(transports ?? {}, file, "transports")["docker"] ?? {},
    file,
    "transports.docker",
  );
  const scopes = Object.entries(docker).map(
    ([scope, list]) =>
      [scope, requirements(list, file, `transports.docker[${JSON.stringify(scope)}]`)] as const,
  );
  return { default: requirements(fallback, file, "default"), scopes: new Map(scopes) };
}

/**
 * The signatures that the policy asks for. Throws (code unknown, which is what lets kubelet see the message's prefix)
 * when it rejects the image without looking at any.
 */
export function requiredSignatures(
  policy: SignaturePolicy | undefined,
  reference: ImageReference,
): SigstoreRequirement[] {
  if (policy === undefined) return [];
  const scope = scopesOf(reference).find((candidate) => policy.scopes.has(candidate));
  const list = (scope === undefined ? undefined : policy.scopes.get(scope)) ?? policy.default;
  for (const requirement of list) {
    if (requirement.type === "reject") throw signatureFailure(reference, "the policy rejects it");
    if (requirement.type === "unsupported")
      throw signatureFailure(
        reference,
        `the policy asks for ${requirement.what}, which is not supported here`,
      );
  }
  return list.filter((requirement) => requirement.type === "sigstoreSigned");
}

/** The error for an image that must not be used. */
export function signatureFailure(reference: ImageReference, why: string, cause?: unknown): CricketError {
  const message = `${failedPrefix}: image ${formatReference(reference)}: ${why}`;
  return new CricketError("unknown", message, cause === undefined ? {} : { cause });
}

// From the most to the least specific, as the manual lists them.
function scopesOf(reference: ImageReference): string[] {
  const repository = repositoryOf(reference);
  const scopes = [formatReference(reference)];
  for (let path = repository; path !== ""; path = path.slice(0, Math.max(0, path.lastIndexOf("/"))))
    scopes.push(path);
  const host = reference.domain.replace(/:\d+$/, "");
  for (let dot = host.indexOf("."); dot !== -1; dot = host.indexOf(".", dot + 1))
    scopes.push(`*${host.slice(dot)}`);
  return [...scopes, ""];
}

function requirements(value: unknown, file: string, key: string): PolicyRequirement[] {
  if (!Array.isArray(value) || value.length === 0)
    throw invalidArgument(`${file}: ${key} is not a list of requirements`);
  return value.map((item) => {
    const requirement = object(item, file, key);
    const { type } = requirement;
    switch (type) {
      case "insecureAcceptAnything":
      case "reject":
        return { type };
      case "signedBy":
        return { type: "unsupported", what: type };
      case "sigstoreSigned":
        return sigstoreRequirement(requirement, `${file}: ${key}`);
      default:
        throw invalidArgument(`${file}: ${key}: unknown requirement ${JSON.stringify(type)}`);
    }
  });
}

const sigstoreKeys = ["keyPath", "keyPaths", "keyData", "keyDatas"];
const certificateKeys = ["fulcio", "pki"];
const logKeys = ["rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas"];

function sigstoreRequirement(requirement: Record<string, unknown>, where: string): PolicyRequirement {
  const known = new Set(["type", "signedIdentity", ...sigstoreKeys, ...certificateKeys, ...logKeys]);
  const unknown = Object.keys(requirement).find((name) => !known.has(name));
  if (unknown !== undefined) throw invalidArgument(`${where}: sigstoreSigned: unknown key ${unknown}`);
  const sources = [...sigstoreKeys, ...certificateKeys].filter((name) => name in requirement);
  if (sources.length !== 1)
    throw invalidArgument(`${where}: sigstoreSigned: not exactly one of ${sigstoreKeys.join(", ")}`);
  const unsupported = [...certificateKeys, ...logKeys].find((name) => name in requirement);
  if (unsupported !== undefined) return { type: "unsupported", what: `sigstoreSigned with ${unsupported}` };
  const texts = (name: string): string[] => {
    const value = [requirement[name] ?? []].flat();
    if (value.every((text) => typeof text === "string" && text !== "")) return value as string[];
    throw invalidArgument(`${where}: sigstoreSigned: ${name} is not text`);
  };
  const keyPaths = [...texts("keyPath"), ...texts("keyPaths")];
  const keyData = [...texts("keyData"), ...texts("keyDatas")].map((text) => Buffer.from(text, "base64"));
  if (keyPaths.length + keyData.length === 0)
    throw invalidArgument(`${where}: sigstoreSigned: ${sources.join("")} names no key`);
  const identity = parseSignedIdentity(requirement["signedIdentity"], where);
  return { type: "sigstoreSigned", keyPaths, keyData, identity };
}

function object(value: unknown, file: string, key: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw invalidArgument(`${file}: ${key} is not an object`);
}

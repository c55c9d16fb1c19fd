// One sigstore signature of an image: what was signed (the "simple signing" payload that cosign and podman write), and
// by whom.
import { createPublicKey, verify, type KeyObject } from "node:crypto";
import { messageOf } from "../base/errors.ts";

export interface SigstoreSignature {
  /** The signed bytes. */
  payload: Buffer;
  /** In base64. */
  signature: string;
}

export interface SignedImage {
  /** "sha256:<hex>" of a manifest or index. */
  manifestDigest: string;
  /** The name the image had for its signer. */
  dockerReference: string;
}

const payloadType = "cosign container image signature";

/** Reads a public key in PEM. Throws an Error for anything else, and for kinds of keys that sign no images. */
export function parsePublicKey(pem: Buffer | string): KeyObject {
  const text = pem.toString("latin1");
  // createPublicKey takes private keys and certificates too, of which it makes a public one.
  if (!text.includes("-----BEGIN PUBLIC KEY-----")) throw new Error("not a public key in PEM");
  const key = createPublicKey(text);
  if (["ec", "rsa", "ed25519"].includes(key.asymmetricKeyType ?? "")) return key;
  throw new Error(`a public key of kind ${key.asymmetricKeyType ?? "unknown"}`);
}

/** What one of `keys` has signed. Throws an Error that says why there is no such thing. */
export function verifySigstore(
  { payload, signature }: SigstoreSignature,
  keys: readonly KeyObject[],
): SignedImage {
  const bytes = Buffer.from(signature, "base64");
  if (!keys.some((key) => isSignedBy(key, payload, bytes))) throw new Error("none of the keys has made it");
  return parsePayload(payload);
}

function isSignedBy(key: KeyObject, payload: Buffer, signature: Buffer): boolean {
  // Ed25519 has a hash of its own; the others are used with SHA-256 throughout.
  return verify(key.asymmetricKeyType === "ed25519" ? null : "sha256", payload, key, signature);
}

// Strict: a field that is not understood might have been meant as a condition.
function parsePayload(payload: Buffer): SignedImage {
  const document = exactly(parseJson(payload), ["critical", "optional"], "the payload");
  const critical = exactly(document["critical"], ["type", "image", "identity"], "critical");
  if (critical["type"] !== payloadType)
    throw new Error(`critical.type is not ${JSON.stringify(payloadType)}`);
  const image = exactly(critical["image"], ["docker-manifest-digest"], "critical.image");
  const identity = exactly(critical["identity"], ["docker-reference"], "critical.identity");
  const [manifestDigest, dockerReference] = [image["docker-manifest-digest"], identity["docker-reference"]];
  if (typeof manifestDigest !== "string" || typeof dockerReference !== "string")
    throw new Error("digest or reference of the payload is no text");
  return { manifestDigest, dockerReference };
}

function exactly(value: unknown, names: readonly string[], what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Error(`${what} is not an object`);
  const found = Object.keys(value);
  if (found.length !== names.length || !names.every((name) => found.includes(name)))
    throw new Error(`${what} has other fields than ${names.join(", ")}`);
  return value as Record<string, unknown>;
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new Error(`the payload is not JSON: ${messageOf(error)}`, { cause: error });
  }
}

// sigstoreSigned of containers-policy.json(5): an image is used only if a key of the policy has signed it. Signatures
// lie beside the image in its repository, as the layers of an image tagged `sha256-<hex>.sig` (cosign's "attachments").
import type { KeyObject } from "node:crypto";
import { readFile } from "node:fs/promises";
import { hasCode, messageOf } from "../base/errors.ts";
import { isSha256Digest } from "../snapshot/chain-id.ts";
import { hexOf, printable } from "./digest.ts";
import type { ImageSource } from "./image-source.ts";
import type { ImageReference } from "./reference.ts";
import { parsePublicKey, verifySigstore, type SigstoreSignature } from "./sigstore-payload.ts";
import { matchesIdentity, type SignedIdentity } from "./signed-identity.ts";
import { signatureFailure, type SigstoreRequirement } from "./signature-policy.ts";

const signatureType = "application/vnd.dev.cosign.simplesigning.v1+json";
const signatureAnnotation = "dev.cosignproject.cosign/signature";
const payloadLimitBytes = 4 * 1024 * 1024;
/** Whoever may push to the repository may add signatures: each costs a request. */
const signatureLimit = 100;

export interface ImageToCheck {
  source: ImageSource;
  reference: ImageReference;
  /** Of the platform's manifest, and of what the reference names if that is an index: either may be signed. */
  digests: readonly string[];
}

/** Throws (code unknown, "SignatureValidationFailed: ...") unless every requirement is met by one signature. */
export async function checkSignatures(
  image: ImageToCheck,
  requirements: readonly SigstoreRequirement[],
  signal: AbortSignal,
): Promise<void> {
  if (requirements.length === 0) return;
  const unmet = new Set(
    await Promise.all(
      requirements.map(async ({ identity, ...keys }) => ({ identity, keys: await loadKeys(image, keys) })),
    ),
  );
  const rejections = new Set<string>();
  for (const digest of new Set(image.digests)) {
    for await (const signature of fetchSignatures(image, digest, signal)) {
      for (const why of meet(unmet, signature, digest, image.reference)) rejections.add(why);
      if (unmet.size === 0) return;
    }
  }
  throw signatureFailure(
    image.reference,
    rejections.size === 0 ? "it has no signature" : [...rejections].join("; "),
  );
}

interface Unmet {
  identity: SignedIdentity;
  keys: readonly KeyObject[];
}

/** Takes away what the signature meets; returns why it does not meet the rest. */
function meet(
  unmet: Set<Unmet>,
  signature: SigstoreSignature,
  digest: string,
  reference: ImageReference,
): string[] {
  const rejections: string[] = [];
  for (const one of unmet) {
    const why = rejectionOf(signature, digest, reference, one);
    if (why === undefined) unmet.delete(one);
    else rejections.push(why);
  }
  return rejections;
}

/** Undefined when the signature is accepted. */
function rejectionOf(
  signature: SigstoreSignature,
  digest: string,
  reference: ImageReference,
  { identity, keys }: Unmet,
): string | undefined {
  try {
    const signed = verifySigstore(signature, keys);
    if (signed.manifestDigest !== digest) return `a signature is for ${printable(signed.manifestDigest)}`;
    if (matchesIdentity(identity, reference, signed.dockerReference)) return undefined;
    return `a signature is for ${printable(signed.dockerReference)}, which the policy does not accept for it`;
  } catch (error) {
    return `a signature is not accepted: ${messageOf(error)}`;
  }
}

async function loadKeys(
  { reference }: ImageToCheck,
  { keyPaths, keyData }: Pick<SigstoreRequirement, "keyPaths" | "keyData">,
): Promise<KeyObject[]> {
  try {
    const files = await Promise.all(keyPaths.map((path) => readFile(path)));
    return [...files, ...keyData].map(parsePublicKey);
  } catch (error) {
    throw signatureFailure(reference, `a key of the policy cannot be used: ${messageOf(error)}`, error);
  }
}

async function* fetchSignatures(
  { source }: ImageToCheck,
  digest: string,
  signal: AbortSignal,
): AsyncGenerator<SigstoreSignature> {
  let bytes: Buffer;
  try {
    ({ bytes } = await source.fetchBeside(`sha256-${hexOf(digest)}.sig`, signal));
  } catch (error) {
    if (hasCode(error, "not-found")) return;
    throw error;
  }
  for (const { digest: payloadDigest, signature } of signaturesIn(bytes).slice(0, signatureLimit))
    yield { payload: await source.fetchBlob(payloadDigest, payloadLimitBytes, signal), signature };
}

/** The signatures that a manifest lists; attestations and whatever else lies beside an image are passed over. */
function signaturesIn(manifest: Buffer): { digest: string; signature: string }[] {
  let document: { layers?: unknown };
  try {
    document = JSON.parse(manifest.toString("utf8")) as typeof document;
  } catch {
    return [];
  }
  const layers = Array.isArray(document.layers) ? (document.layers as unknown[]) : [];
  return layers.flatMap((layer) => {
    const { mediaType, digest, annotations } = (layer ?? {}) as Record<string, unknown>;
    const signature = (annotations as Record<string, unknown> | undefined)?.[signatureAnnotation];
    if (mediaType !== signatureType || typeof digest !== "string" || !isSha256Digest(digest)) return [];
    return typeof signature === "string" ? [{ digest, signature }] : [];
  });
}

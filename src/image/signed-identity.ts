// signedIdentity of containers-policy.json(5): which name a signature must have been made for.
import { invalidArgument } from "../base/errors.ts";
import { formatReference, repositoryOf, tryParseReference, type ImageReference } from "./reference.ts";

export type SignedIdentity =
  /** The same name, tag and all; "repo digest": for a pull by digest alone the repository. */
  | { type: "matchExact" | "matchRepoDigestOrExact" | "matchRepository" }
  | { type: "exactReference"; reference: ImageReference }
  | { type: "exactRepository"; repository: string }
  /** The image's name begins with `prefix` where the signature has `signedPrefix`. */
  | { type: "remapIdentity"; prefix: string; signedPrefix: string };

/** The reference of a signature. Signers leave the tag out at will, which is not the tag "latest". */
interface SignedReference {
  reference: ImageReference;
  isNameOnly: boolean;
}

/** Throws invalid-argument that names `where` and the key. Not given: matchRepoDigestOrExact. */
export function parseSignedIdentity(value: unknown, where: string): SignedIdentity {
  if (value === undefined) return { type: "matchRepoDigestOrExact" };
  const object = typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  const field = (name: string): string => {
    const text = object[name];
    if (typeof text === "string" && text !== "") return text;
    throw invalidArgument(`${where}: signedIdentity.${name} is not a text`);
  };
  const type = object["type"];
  switch (type) {
    case "matchExact":
    case "matchRepoDigestOrExact":
    case "matchRepository":
      return { type };
    case "exactReference":
      return { type, reference: versioned(field("dockerReference"), where) };
    case "exactRepository":
      return { type, repository: repositoryNamed(field("dockerRepository"), where) };
    case "remapIdentity":
      return { type, prefix: field("prefix"), signedPrefix: field("signedPrefix") };
    default:
      throw invalidArgument(`${where}: signedIdentity.type is ${JSON.stringify(type)}`);
  }
}

/** True when a signature for `signed` (docker-reference of its payload) may stand for `image`. */
export function matchesIdentity(identity: SignedIdentity, image: ImageReference, signed: string): boolean {
  const found = parseSigned(signed);
  if (found === undefined) return false;
  switch (identity.type) {
    case "matchExact":
      return isSame(image, found);
    case "matchRepoDigestOrExact":
      return isSameOrByDigest(image, found);
    case "matchRepository":
      return repositoryOf(image) === repositoryOf(found.reference);
    case "exactReference":
      return isSame(identity.reference, found);
    case "exactRepository":
      return identity.repository === repositoryOf(found.reference);
    case "remapIdentity": {
      const remapped = tryParseReference(remap(identity, image));
      return remapped !== undefined && isSameOrByDigest(remapped, found);
    }
  }
}

function isSame(image: ImageReference, { reference, isNameOnly }: SignedReference): boolean {
  return !isNameOnly && formatReference(image) === formatReference(reference);
}

function isSameOrByDigest(image: ImageReference, signed: SignedReference): boolean {
  if (image.tag !== undefined) return isSame(image, signed);
  return repositoryOf(image) === repositoryOf(signed.reference);
}

function remap(
  { prefix, signedPrefix }: { prefix: string; signedPrefix: string },
  image: ImageReference,
): string {
  const [name, full] = [repositoryOf(image), formatReference(image)];
  const isBelow = name === prefix || name.startsWith(`${prefix}/`);
  return isBelow ? `${signedPrefix}${full.slice(prefix.length)}` : full;
}

function parseSigned(text: string): SignedReference | undefined {
  const reference = tryParseReference(text);
  return reference === undefined ? undefined : { reference, isNameOnly: isNameOnly(text) };
}

// What takes a tag has none, and no digest either.
function isNameOnly(text: string): boolean {
  return tryParseReference(`${text}:tag`) !== undefined;
}

function versioned(text: string, where: string): ImageReference {
  const reference = tryParseReference(text);
  if (reference !== undefined && !isNameOnly(text)) return reference;
  throw invalidArgument(`${where}: signedIdentity.dockerReference is no reference with a tag or digest`);
}

function repositoryNamed(text: string, where: string): string {
  const reference = tryParseReference(text);
  if (reference !== undefined && isNameOnly(text)) return repositoryOf(reference);
  throw invalidArgument(`${where}: signedIdentity.dockerRepository is no repository`);
}

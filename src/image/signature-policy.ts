// containers-policy.json(5): which images may be used at all. Only the requirements that need no signature can be met
// here; one that needs a signature refuses the pull, because ignoring it would accept what the operator forbade.
import { readFile } from "node:fs/promises";
import { CricketError, errnoOf, invalidArgument } from "../base/errors.ts";
import { formatReference, repositoryOf, type ImageReference } from "./reference.ts";

export type PolicyRequirement =
  { type: "insecureAcceptAnything" } | { type: "reject" } | { type: "signedBy" | "sigstoreSigned" };

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

/** Throws (code unknown, which is what lets kubelet see the message's prefix) unless the policy allows the image. */
export function assertAllowed(policy: SignaturePolicy | undefined, reference: ImageReference): void {
  if (policy === undefined) return;
  const scope = scopesOf(reference).find((candidate) => policy.scopes.has(candidate));
  const list = (scope === undefined ? undefined : policy.scopes.get(scope)) ?? policy.default;
  const refused = list.find(({ type }) => type !== "insecureAcceptAnything");
  if (refused === undefined) return;
  const why =
    refused.type === "reject"
      ? "the policy rejects it"
      : `the policy asks for ${refused.type}, which is not supported here`;
  throw new CricketError("unknown", `${failedPrefix}: image ${formatReference(reference)}: ${why}`);
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
    const type = object(item, file, key)["type"];
    switch (type) {
      case "insecureAcceptAnything":
      case "reject":
      case "signedBy":
      case "sigstoreSigned":
        return { type };
      default:
        throw invalidArgument(`${file}: ${key}: unknown requirement ${JSON.stringify(type)}`);
    }
  });
}

function object(value: unknown, file: string, key: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw invalidArgument(`${file}: ${key} is not an object`);
}

// Chain ids: the name of a layer together with all layers below it (OCI image-spec config.md, "Layer ChainID").
import { createHash } from "node:crypto";
import { invalidArgument } from "../base/errors.ts";

const digestPattern = /^sha256:[0-9a-f]{64}$/;

/** True for "sha256:" and 64 lower-case hexadecimal characters, the only algorithm in use here. */
export function isSha256Digest(text: string): boolean {
  return digestPattern.test(text);
}

/**
 * The chain ids of an image's layers, bottom first: the first is the first diff id itself, each next one the digest
 * of "<chain id below> <diff id>". Throws invalid-argument for a diff id that is no sha256 digest.
 */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    if (!isSha256Digest(diffId))
      throw invalidArgument(`diff id ${JSON.stringify(diffId)}: not a sha256 digest`);
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : sha256(`${below} ${diffId}`));
  }
  return chain;
}

function sha256(text: string): string {
  return `sha256:${createHash("sha256").update(text).digest("hex")}`;
}

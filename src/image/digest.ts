// Content digests: "sha256:<64 hex>". Other algorithms of the OCI specification are refused: layers and records are
// named by SHA-256 throughout.
import { createHash } from "node:crypto";
import { CricketError } from "../base/errors.ts";

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** The 64 hexadecimal characters of a digest. */
export function hexOf(digest: string): string {
  return digest.slice("sha256:".length);
}

/** Throws unless `bytes` have this digest: whoever served them lied, or the line damaged them. */
export function verifyDigest(bytes: Uint8Array, digest: string, what: string): void {
  const actual = digestOf(bytes);
  if (actual !== digest)
    throw new CricketError("failed-precondition", `${what}: digest is ${actual}, not ${digest}`);
}

/** Text of foreign origin, short and on one line, for an error message. */
export function printable(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? typeof value);
  return JSON.stringify(text.length > 160 ? `${text.slice(0, 160)}...` : text);
}

// Texts that are kept in golden/. After a wanted change:
//   UPDATE_GOLDEN=1 npx tsx --test test/unit/oci/explain*.test.ts
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const golden = join(import.meta.dirname, "golden");

export function assertGolden(name: string, text: string): void {
  const path = join(golden, `${name.replaceAll(" ", "-")}.txt`);
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(path, text);
  assert.equal(text, readFileSync(path, "utf8"));
}

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, test } from "node:test";
import { chainIds, isSha256Digest } from "../../../src/snapshot/chain-id.ts";

const digest = (text: string): string => `sha256:${createHash("sha256").update(text).digest("hex")}`;

describe("chainIds()", () => {
  test("begins with the first diff id and digests each pair", () => {
    const [a, b, c] = [digest("a"), digest("b"), digest("c")] as [string, string, string];
    const second = digest(`${a} ${b}`);
    assert.deepEqual(chainIds([a, b, c]), [a, second, digest(`${second} ${c}`)]);
  });

  test("tells the same layer at two places apart", () => {
    const a = digest("a");
    assert.equal(new Set(chainIds([a, a, a])).size, 3);
  });

  test("of nothing is nothing", () => assert.deepEqual(chainIds([]), []));

  test("rejects what is no sha256 digest", () => {
    for (const bad of ["", "sha256:", "sha512:00", "a".repeat(64), `sha256:${"A".repeat(64)}`, "../../etc"])
      assert.throws(() => chainIds([bad]), { code: "invalid-argument" });
  });

  test("isSha256Digest() wants the whole text to be the digest", () => {
    assert.equal(isSha256Digest(`${digest("a")}\n`), false);
    assert.equal(isSha256Digest(digest("a")), true);
  });
});

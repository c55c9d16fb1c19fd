import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseEntryName } from "../../../src/snapshot/entry-path.ts";
import { parseWhiteout } from "../../../src/snapshot/whiteout.ts";

const mark = (name: string): unknown => parseWhiteout(parseEntryName(name));

describe("parseWhiteout()", () => {
  test("leaves ordinary entries alone", () => {
    for (const name of ["etc/passwd", "a.wh.b", "dir.wh./x", "wh.x", ".whx", ""])
      assert.deepEqual(mark(name), { kind: "none" }, name);
  });

  test("reads deleted names and opaque directories", () => {
    assert.deepEqual(mark("etc/.wh.passwd"), { kind: "whiteout", name: "passwd" });
    assert.deepEqual(mark(".wh..hidden"), { kind: "whiteout", name: ".hidden" });
    assert.deepEqual(mark("etc/.wh..wh..opq"), { kind: "opaque" });
  });

  test("skips what belongs to aufs", () => {
    for (const name of [".wh..wh.plnk", ".wh..wh.plnk/12.3", ".wh..wh.aufs", "x/.wh..wh.orph/y"])
      assert.deepEqual(mark(name), { kind: "aufs" }, name);
  });

  // A whiteout of "." or ".." would delete the directory it is in, or the one above (CVE-2018-15664's family).
  test("rejects marks that name nothing, the directory itself or the one above", () => {
    for (const name of [".wh.", "a/.wh.", "a/.wh..", "a/.wh...", ".wh..."])
      assert.throws(() => mark(name), { code: "failed-precondition", message: /whiteout of nothing/ }, name);
  });

  test("rejects entries inside a whiteout", () => {
    for (const name of [".wh.dir/file", "a/.wh.b/../.wh.b/c", ".wh.x/.wh.y"])
      assert.throws(() => mark(name), { code: "failed-precondition", message: /inside a whiteout/ }, name);
  });
});

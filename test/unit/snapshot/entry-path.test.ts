import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseEntryName, pathNameOf, splitPath } from "../../../src/snapshot/entry-path.ts";

describe("parseEntryName()", () => {
  test("takes names as paths below the root", () => {
    const paths = [
      "usr/bin/x",
      "./usr/bin/x",
      "/usr/bin/x",
      "//usr///bin/x/",
      "usr/./lib/../bin/x",
      "usr/bin/x/.",
    ];
    for (const name of paths)
      assert.deepEqual(parseEntryName(name), { path: "usr/bin/x", parent: "usr/bin", base: "x" }, name);
  });

  test("knows the root under all its names", () => {
    for (const name of ["", ".", "/", "./", "./.", "a/.."])
      assert.deepEqual(parseEntryName(name), { path: "", parent: "", base: "" }, name);
  });

  test("rejects names that lead out of the layer", () => {
    for (const name of ["..", "../etc/passwd", "/../x", "a/../../x", "./../x", "a/b/../../../x"])
      assert.throws(() => parseEntryName(name), { code: "failed-precondition", message: /leads out/ }, name);
  });

  test("gives a normal path for any name it takes", () => {
    const part = fc.constantFrom("a", "bb", ".", "..", "", "...", ".wh.x", "é");
    fc.assert(
      fc.property(fc.array(part), (parts) => {
        let parsed;
        try {
          parsed = parseEntryName(parts.join("/"));
        } catch {
          return;
        }
        const components = parsed.path === "" ? [] : parsed.path.split("/");
        assert.ok(components.every((component) => !["", ".", ".."].includes(component)));
        assert.deepEqual(parseEntryName(parsed.path), parsed);
        assert.deepEqual(splitPath(parsed.path), parsed);
      }),
    );
  });
});

describe("pathNameOf()", () => {
  test("keeps bytes that are no valid UTF-8", () => {
    assert.equal(pathNameOf("plain"), "plain");
    assert.deepEqual(pathNameOf("\xff\xfe"), Buffer.from([0xff, 0xfe, 0]));
  });
});

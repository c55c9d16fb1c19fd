import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseExact, stringifyExact } from "../../../src/base/json.ts";

test("`stringifyExact()` keeps integers of 64 bits and bytes", () => {
  const value = { limit: 2n ** 63n - 1n, bytes: Buffer.from([0, 255]), list: [1n, "1", null] };
  assert.deepEqual(parseExact(stringifyExact(value)), value);
});

test("`parseExact()` gives labels back that look like its own marks", () => {
  for (const name of ["$int64", "$bytes", "$$int64", "$$$bytes"])
    for (const content of ["5", "five", ""]) {
      const record = { labels: { [name]: content }, annotations: {} };
      assert.deepEqual(parseExact(stringifyExact(record)), record);
    }
});

const key = fc.oneof(fc.constantFrom("$int64", "$bytes", "$$int64", "a"), fc.string());
const { document } = fc.letrec((tie) => ({
  document: fc.oneof(
    { depthSize: "small" },
    fc.string(),
    fc.bigInt(),
    fc.boolean(),
    fc.dictionary(key, tie("document"), { maxKeys: 2, noNullPrototype: true }),
    fc.array(tie("document"), { maxLength: 2 }),
  ),
}));

test("`parseExact()` is the inverse of `stringifyExact()`", () => {
  fc.assert(fc.property(document, (value) => assert.deepEqual(parseExact(stringifyExact(value)), value)));
});

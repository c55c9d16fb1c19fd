import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { tryParseQuantity } from "../../../src/base/quantity.ts";

for (const [text, expected] of [
  ["1", 1n],
  ["10M", 10_000_000n],
  ["1.5Gi", 1_610_612_736n],
  [".5k", 500n],
  ["1e3", 1000n],
  ["1.5E2", 150n],
  ["12E", 12_000_000_000_000_000_000n],
  ["1m", 1n],
  ["1001m", 2n],
  ["+4k", 4000n],
  ["10e-1", 1n],
  ["", undefined],
  ["-1", undefined],
  ["k", undefined],
  ["1K", undefined],
  ["1MB", undefined],
  ["1 M", undefined],
  ["0x10", undefined],
  ["1e999", undefined],
] as const)
  test(`\`tryParseQuantity()\` of ${JSON.stringify(text)}`, () => {
    assert.equal(tryParseQuantity(text), expected);
  });

test("`tryParseQuantity()` takes any whole number", () => {
  fc.assert(
    fc.property(fc.bigInt(0n, 10n ** 29n), (value) => {
      assert.equal(tryParseQuantity(value.toString()), value);
      assert.equal(tryParseQuantity(`${value}Ki`), value * 1024n);
    }),
  );
});

test("no text makes `tryParseQuantity()` throw", () => {
  fc.assert(fc.property(fc.string(), (text) => void tryParseQuantity(text)));
});

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseQuantity } from "../../../../src/plugins/classes/quantity.ts";

test("`parseQuantity()` reads what Kubernetes writes", () => {
  const cases: [text: string, expected: bigint | undefined][] = [
    ["0", 0n],
    ["80", 80n],
    ["+80", 80n],
    ["60M", 60_000_000n],
    ["1.5Gi", 3n * 512n * 1024n * 1024n],
    [".5k", 500n],
    ["5.", 5n],
    ["1e3", 1000n],
    ["12E-1", 2n],
    ["1E", 10n ** 18n],
    ["1500m", 2n],
    ["1n", 1n],
    ["9223372036854775807", 2n ** 63n - 1n],
    ["9223372036854775808", undefined],
    ["10E", undefined],
    ["", undefined],
    [".", undefined],
    ["M", undefined],
    ["-1", undefined],
    ["60 M", undefined],
    ["1KiB", undefined],
    ["0x10", undefined],
  ];
  for (const [text, expected] of cases) assert.equal(parseQuantity(text), expected, text);
});

test("`parseQuantity()` reads any number, and no text makes it throw", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), (number) => {
      assert.equal(parseQuantity(String(number)), number);
    }),
  );
  fc.assert(fc.property(fc.string(), (text) => void parseQuantity(text)));
});

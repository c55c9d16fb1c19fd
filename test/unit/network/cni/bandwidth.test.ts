import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { bandwidthOf, tryParseQuantity } from "../../../../src/network/cni/bandwidth.ts";

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

test("`bandwidthOf()` gives each direction a rate and a burst", () => {
  assert.equal(bandwidthOf({}), undefined);
  assert.deepEqual(bandwidthOf({ "kubernetes.io/egress-bandwidth": "1M" }), {
    egressRate: 1_000_000,
    egressBurst: 2_147_483_647,
  });
});

for (const text of ["fast", "999", "2P", "-1M"])
  test(`\`bandwidthOf()\` rejects ${text}`, () => {
    assert.throws(() => bandwidthOf({ "kubernetes.io/ingress-bandwidth": text }), {
      code: "invalid-argument",
      message: /^annotation kubernetes.io\/ingress-bandwidth is /,
    });
  });

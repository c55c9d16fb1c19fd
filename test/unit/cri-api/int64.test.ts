import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fromInt64, toInt64 } from "../../../cri-api/int64.ts";
import { v1 } from "../../../cri-api/runtime/v1/api.js";

const int64 = fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n);
const uint64 = fc.bigInt(0n, 2n ** 64n - 1n);

test("`toInt64()` and `fromInt64()` are inverses over the wire for all int64", () => {
  fc.assert(
    fc.property(int64, (value) => {
      const bytes = v1.Int64Value.encode({ value: toInt64(value) }).finish();
      assert.equal(fromInt64(v1.Int64Value.decode(bytes).value), value);
    }),
  );
});

test("`toInt64()` and `fromInt64()` are inverses over the wire for all uint64", () => {
  fc.assert(
    fc.property(uint64, (value) => {
      const bytes = v1.UInt64Value.encode({ value: toInt64(value) }).finish();
      assert.equal(fromInt64(v1.UInt64Value.decode(bytes).value), value);
    }),
  );
});

test("`fromInt64()` takes a field that was left out for 0", () => {
  assert.equal(fromInt64(undefined), 0n);
  assert.equal(fromInt64(null), 0n);
  assert.equal(fromInt64(v1.Int64Value.decode(new Uint8Array()).value), 0n);
});

test("`KeyValue.value` keeps bytes that are not UTF-8", () => {
  const value = Uint8Array.from([0xff, 0xfe, 0, 0x80]);
  const bytes = v1.KeyValue.encode({ key: "K", value }).finish();
  assert.deepEqual(Uint8Array.from(v1.KeyValue.decode(bytes).value), value);
});

test("a label named __proto__ is a label like any other", () => {
  const labels = JSON.parse('{"__proto__":"x","a":"b"}') as Record<string, string>;
  const bytes = v1.PodSandboxConfig.encode({ labels }).finish();
  const decoded = v1.PodSandboxConfig.decode(bytes).labels;
  assert.deepEqual(Object.entries(decoded), [
    ["__proto__", "x"],
    ["a", "b"],
  ]);
});

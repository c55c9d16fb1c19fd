import assert from "node:assert/strict";
import { test } from "node:test";
import { bandwidthOf } from "../../../../src/network/cni/bandwidth.ts";

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

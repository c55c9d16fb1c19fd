import assert from "node:assert/strict";
import { test } from "node:test";
import { capabilityMask, capabilityNames, normaliseCapability } from "../../../src/linux/capabilities.ts";

test("`capabilityMask()` and `capabilityNames()` are inverses", () => {
  const all = (1n << 41n) - 1n;
  const names = capabilityNames(all);
  assert.equal(names.length, 41);
  assert.equal(capabilityMask(names, "x"), all);
  assert.deepEqual([names[21], names[40]], ["CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"]);
});

test("`capabilityNames()` leaves bits out that have no name yet", () => {
  assert.deepEqual(capabilityNames((1n << 60n) | 1n), ["CAP_CHOWN"]);
});

test("`normaliseCapability()` takes a name with and without prefix", () => {
  assert.equal(normaliseCapability("net_admin", "x"), "CAP_NET_ADMIN");
  assert.equal(normaliseCapability("CAP_KILL", "x"), "CAP_KILL");
});

for (const name of ["", "CAP_", "ALL", "CAP_CAP_KILL", "KILL "])
  test(`\`normaliseCapability()\` refuses ${JSON.stringify(name)}`, () => {
    assert.throws(() => normaliseCapability(name, "f"), { code: "invalid-argument", message: /^f has / });
  });

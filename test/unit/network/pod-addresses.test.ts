import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { hasCode } from "../../../src/base/errors.ts";
import { newId } from "../../../src/base/ids.ts";
import { formatIp } from "../../../src/network/ip-address.ts";
import { PodAddresses } from "../../../src/network/pod-addresses.ts";
import { parseSubnet } from "../../../src/network/subnet.ts";

const both = [parseSubnet("192.0.2.0/29", "subnet"), parseSubnet("fd00:88::/126", "subnet6")];

function place(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "cricket-addresses-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

function open(t: TestContext, directory: string, bootId: string): PodAddresses {
  const addresses = new PodAddresses(directory, both, bootId);
  t.after(() => addresses.close());
  return addresses;
}

test("`allocate()` gives an address of each subnet", (t) => {
  const pod = open(t, place(t), "boot-1").allocate(newId());
  assert.deepEqual(
    pod.map(({ address }) => formatIp(address)),
    ["192.0.2.2", "fd00:88::2"],
  );
});

test("`allocate()` keeps nothing when one of the subnets is exhausted", (t) => {
  const addresses = open(t, place(t), "boot-1");
  addresses.allocate(newId());
  addresses.allocate(newId());
  const id = newId();
  assert.throws(
    () => addresses.allocate(id),
    (error) => hasCode(error, "resource-exhausted"),
  );
  assert.deepEqual([addresses.of(id), addresses.sandboxIds().size], [[], 2]);
});

test("`PodAddresses` keeps leases within a boot and forgets those of an earlier one (containerd/cri#948)", (t) => {
  const directory = place(t);
  const id = newId();
  open(t, directory, "boot-1").allocate(id);
  assert.equal(open(t, directory, "boot-1").of(id).length, 2);
  writeFileSync(join(directory, "stray"), "x");
  const later = open(t, directory, "boot-2");
  assert.deepEqual([later.of(id), later.isEmpty, existsSync(join(directory, "stray"))], [[], true, false]);
  later.allocate(id);
  assert.equal(open(t, directory, "boot-2").isEmpty, false);
});

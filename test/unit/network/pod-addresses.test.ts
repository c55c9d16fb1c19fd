import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { hasCode } from "../../../src/base/errors.ts";
import { newId } from "../../../src/base/ids.ts";
import { formatIp } from "../../../src/network/ip-address.ts";
import { PodAddresses } from "../../../src/network/pod-addresses.ts";
import { formatSubnet, parseSubnet } from "../../../src/network/subnet.ts";

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

test("`PodAddresses` keeps leases of a subnet that is configured no more, and gives none of its addresses twice", (t) => {
  const directory = place(t);
  const make = (...subnets: string[]): PodAddresses => {
    const addresses = new PodAddresses(
      directory,
      subnets.map((subnet) => parseSubnet(subnet, "subnet")),
      "boot-1",
    );
    t.after(() => addresses.close());
    return addresses;
  };
  const id = newId();
  make("192.0.2.0/24", "fd00:88::/64").allocate(id);
  const later = make("192.0.2.0/29");
  assert.deepEqual(later.of(id).map(formatIp).toSorted(), ["192.0.2.2", "fd00:88::2"]);
  assert.deepEqual([later.isEmpty, later.sandboxIds().size], [false, 1]);
  assert.deepEqual(later.formerSubnets.map(formatSubnet).toSorted(), ["192.0.2.0/24", "fd00:88::/64"]);
  const given = Array.from({ length: 4 }, () => later.allocate(newId())).flat();
  assert.ok(!given.some(({ address }) => formatIp(address) === "192.0.2.2"));
  assert.throws(() => later.allocate(newId()), /no free address/);
  later.release(id);
  assert.deepEqual(later.of(id), []);
  assert.deepEqual(make("192.0.2.0/29").formerSubnets, []);
  assert.deepEqual(
    readdirSync(directory).filter((name) => name !== "boot-id"),
    ["192.0.2.0-29"],
  );
});

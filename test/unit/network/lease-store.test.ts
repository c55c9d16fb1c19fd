import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { hasCode } from "../../../src/base/errors.ts";
import { newId } from "../../../src/base/ids.ts";
import { formatIp } from "../../../src/network/ip-address.ts";
import { LeaseStore } from "../../../src/network/lease-store.ts";
import { parseSubnet } from "../../../src/network/subnet.ts";

function place(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "cricket-leases-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

function open(t: TestContext, directory: string, subnet = "192.0.2.0/29"): LeaseStore {
  const store = new LeaseStore(directory, parseSubnet(subnet, "subnet"));
  t.after(() => store.close());
  return store;
}

const leaseFiles = (directory: string): string[] =>
  readdirSync(join(directory, "192.0.2.0-29"))
    .filter((name) => name !== "last")
    .sort();

test("`allocate()` writes one file per address with the sandbox id", (t) => {
  const directory = place(t);
  const id = newId();
  assert.equal(formatIp(open(t, directory).allocate(id)), "192.0.2.2");
  assert.equal(readFileSync(join(directory, "192.0.2.0-29/192.0.2.2"), "utf8"), id);
});

test("`allocate()` gives a sandbox the address it has", (t) => {
  const directory = place(t);
  const id = newId();
  const store = open(t, directory);
  assert.deepEqual(store.allocate(id), store.allocate(id));
  assert.deepEqual(open(t, directory).allocate(id), store.addressOf(id));
});

test("`allocate()` does not use a released address again before the others, also after a restart", (t) => {
  const directory = place(t);
  const [first, second] = [newId(), newId()];
  const store = open(t, directory);
  store.allocate(first);
  store.release(first);
  assert.equal(formatIp(store.allocate(second)), "192.0.2.3");
  store.release(second);
  assert.equal(formatIp(open(t, directory).allocate(newId())), "192.0.2.4");
});

test("`allocate()` says that the subnet is exhausted, and works again after a release", (t) => {
  const store = open(t, place(t));
  const ids = Array.from({ length: 5 }, newId);
  assert.equal(new Set(ids.map((id) => formatIp(store.allocate(id)))).size, 5);
  assert.throws(
    () => store.allocate(newId()),
    (error) =>
      hasCode(error, "resource-exhausted") &&
      /no free address in 192\.0\.2\.0\/29: 5 of 5/.test(String(error)),
  );
  store.release(ids[2] ?? "");
  assert.equal(formatIp(store.allocate(newId())), "192.0.2.4");
});

test("`allocate()` has 253 addresses of a /24 for pods, each once, and says so to the 254th", (t) => {
  const store = open(t, place(t), "10.88.0.0/24");
  const given = new Set(Array.from({ length: 253 }, () => formatIp(store.allocate(newId()))));
  assert.equal(given.size, 253);
  assert.ok(!["10.88.0.0", "10.88.0.1", "10.88.0.255"].some((reserved) => given.has(reserved)));
  assert.throws(() => store.allocate(newId()), /no free address in 10\.88\.0\.0\/24: 253 of 253 are taken/);
});

test("`release()` of an unknown sandbox does nothing, twice is as good as once", (t) => {
  const directory = place(t);
  const store = open(t, directory);
  const id = newId();
  store.allocate(id);
  store.release(newId());
  store.release(id);
  store.release(id);
  assert.deepEqual([leaseFiles(directory), store.size], [[], 0]);
});

test("`LeaseStore` removes garbage and keeps real leases", (t) => {
  const directory = place(t);
  const leases = join(directory, "192.0.2.0-29");
  const id = newId();
  mkdirSync(leases);
  writeFileSync(join(leases, "192.0.2.3"), id);
  writeFileSync(join(leases, "192.0.2.4"), "");
  writeFileSync(join(leases, "192.0.2.5"), "not an id");
  writeFileSync(join(leases, "192.0.2.1"), newId());
  writeFileSync(join(leases, "198.51.100.1"), newId());
  writeFileSync(join(leases, "notes.txt"), newId());
  writeFileSync(join(leases, "last"), "garbage");
  const store = open(t, directory);
  assert.deepEqual([leaseFiles(directory), store.sandboxIds()], [["192.0.2.3"], [id]]);
  assert.equal(formatIp(store.allocate(newId())), "192.0.2.2");
});

test("`LeaseStore` keeps one lease of a sandbox that seems to have two", (t) => {
  const directory = place(t);
  const leases = join(directory, "192.0.2.0-29");
  const id = newId();
  mkdirSync(leases);
  writeFileSync(join(leases, "192.0.2.3"), id);
  writeFileSync(join(leases, "192.0.2.4"), id);
  assert.equal(open(t, directory).size, 1);
  assert.equal(leaseFiles(directory).length, 1);
});

test("`allocate()` passes over an address that somebody else has taken on disk", (t) => {
  const directory = place(t);
  const store = open(t, directory);
  mkdirSync(join(directory, "192.0.2.0-29/192.0.2.2"));
  assert.equal(formatIp(store.allocate(newId())), "192.0.2.3");
});

test("`LeaseStore` allocates from an IPv6 subnet", (t) => {
  const directory = place(t);
  const store = open(t, directory, "fd00:88::/64");
  assert.deepEqual(
    [formatIp(store.allocate(newId())), formatIp(store.allocate(newId()))],
    ["fd00:88::2", "fd00:88::3"],
  );
});

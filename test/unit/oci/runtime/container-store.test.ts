import assert from "node:assert/strict";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { RuntimeStore, type ContainerState } from "../../../../src/oci/runtime/container-store.ts";

const root = mkdtempSync(join(tmpdir(), "cricket-store-"));
after(() => rmSync(root, { recursive: true }));

const state = (id: string): ContainerState => ({
  version: 1,
  id,
  ociVersion: "1.2.0",
  bundle: "/b",
  rootfs: "/b/rootfs",
  cgroupPath: "/c",
  created: "2026-01-01T00:00:00Z",
  annotations: { $int64: "5" },
  owner: "root",
});

test("`RuntimeStore.list()` passes over what goes away meanwhile and what is no container", () => {
  const store = new RuntimeStore(root);
  store.reserve("a");
  store.save(state("a"));
  // Its creation was killed, or its deletion is under way.
  store.reserve("b");
  symlinkSync("/no/such", join(root, "c"));
  writeFileSync(join(root, "d"), "");
  assert.deepEqual(store.list(), [state("a")]);
});

test("`RuntimeStore` takes no id that leads out of its directory", () => {
  const store = new RuntimeStore(root);
  for (const id of ["", ".", "..", "a/b", "a\0b", "a b"])
    assert.throws(() => store.find(id), { code: "invalid-argument" });
});

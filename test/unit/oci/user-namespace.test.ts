import assert from "node:assert/strict";
import { test } from "node:test";
import type { Linux, Namespace } from "../../../src/oci/linux-spec.ts";
import type { Mount } from "../../../src/oci/spec.ts";
import { cgroupOwner, hostIdOf, userNamespaceKind } from "../../../src/oci/user-namespace.ts";
import { process, spec } from "./launch-fixtures.ts";

const mappings = [
  { containerID: 0, hostID: 100_000, size: 10 },
  { containerID: 20, hostID: 5, size: 1 },
];

test("`hostIdOf()` finds the id of the host, if there is one", () => {
  assert.deepEqual(
    [0, 9, 10, 19, 20, 21].map((id) => hostIdOf(mappings, id)),
    [100_000, 100_009, undefined, undefined, 5, undefined],
  );
});

test("`userNamespaceKind()` tells a new namespace from one that is joined", () => {
  const kind = (...namespaces: Namespace[]) => userNamespaceKind({ namespaces });
  assert.deepEqual(
    [kind(), kind({ type: "user" }), kind({ type: "user", path: "/proc/1/ns/user" })],
    ["none", "new", "joined"],
  );
});

test("`cgroupOwner()` gives a cgroup only to who sees nothing but it, and may write to it", () => {
  const all: Namespace[] = [{ type: "mount" }, { type: "user" }, { type: "cgroup" }];
  const owner = (namespaces: Namespace[], mounts: Mount[], more: Partial<Linux> = {}) =>
    cgroupOwner(
      spec(
        { mounts, process: process({ user: { uid: 3, gid: 0 } }) },
        { namespaces, uidMappings: mappings, ...more },
      ),
    );
  const cgroup = (...options: string[]): Mount => ({
    destination: "/sys/fs/cgroup",
    type: "cgroup",
    options,
  });
  assert.equal(owner(all, [cgroup("rw")]), 100_003);
  assert.equal(owner(all, [cgroup("ro")]), undefined);
  assert.equal(owner(all, []), undefined);
  assert.equal(owner(all.slice(0, 2), [cgroup()]), undefined);
  assert.equal(owner(all.slice(2), [cgroup()]), undefined);
});

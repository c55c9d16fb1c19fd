import assert from "node:assert/strict";
import { test } from "node:test";
import { buildMounts } from "../../../src/container/build-mounts.ts";
import type { ContainerMount } from "../../../src/container/container-config.ts";
import type { Mount } from "../../../src/oci/spec.ts";
import { containerConfig, security, specInput } from "./container-fixtures.ts";

function mount(changes: Partial<ContainerMount>): ContainerMount {
  return {
    containerPath: "/data",
    hostPath: "/srv/data",
    readonly: false,
    recursiveReadOnly: false,
    propagation: "private",
    selinuxRelabel: false,
    uidMappings: [],
    gidMappings: [],
    ...changes,
  };
}

const build = (mounts: ContainerMount[], changes = {}): Mount[] =>
  buildMounts(specInput({ config: containerConfig({ mounts, security: security(changes) }) }));
const find = (mounts: Mount[], destination: string): Mount | undefined =>
  mounts.find((entry) => entry.destination === destination);

test("`buildMounts()` gives every container the same base", () => {
  assert.deepEqual(
    build([]).map(({ destination, type }) => `${type} ${destination}`),
    [
      "proc /proc",
      "tmpfs /dev",
      "sysfs /sys",
      "devpts /dev/pts",
      "mqueue /dev/mqueue",
      "bind /dev/shm",
      "bind /etc/hostname",
      "bind /etc/hosts",
      "bind /etc/resolv.conf",
      "cgroup /sys/fs/cgroup",
    ],
  );
});

test("`buildMounts()` puts parents before what is mounted in them, and keeps the order among equals", () => {
  const mounts = build([
    mount({ containerPath: "/a/b/c" }),
    mount({ containerPath: "/a" }),
    mount({ containerPath: "/z" }),
    mount({ containerPath: "/a/b" }),
  ]);
  const own = mounts.map(({ destination }) => destination).filter((path) => /^\/[az]/.test(path));
  assert.deepEqual(own, ["/a", "/z", "/a/b", "/a/b/c"]);
});

for (const path of ["/dev/shm", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/sys", "/proc"])
  test(`\`buildMounts()\` lets a CRI mount take the place of ${path}`, () => {
    const mounts = build([mount({ containerPath: `${path}/`, hostPath: "/srv/own" })]);
    assert.deepEqual(
      mounts.filter(({ destination }) => destination === path).map(({ source }) => source),
      ["/srv/own"],
    );
  });

test("`buildMounts()` leaves nothing of the default /dev where the CRI mounts one", () => {
  const mounts = build([mount({ containerPath: "/dev", hostPath: "/dev" })]);
  assert.deepEqual(
    mounts.map(({ destination }) => destination).filter((path) => path.startsWith("/dev")),
    ["/dev"],
  );
});

const access: [Partial<ContainerMount>, string[]][] = [
  [{}, ["rbind", "rprivate", "rw"]],
  [{ readonly: true }, ["rbind", "rprivate", "ro"]],
  [{ readonly: true, recursiveReadOnly: true }, ["rbind", "rprivate", "rro"]],
  [{ propagation: "host-to-container" }, ["rbind", "rslave", "rw"]],
  [{ propagation: "bidirectional", readonly: true }, ["rbind", "rshared", "ro"]],
];
for (const [changes, options] of access)
  test(`\`buildMounts()\` gives ${options.join(",")} for ${JSON.stringify(changes)}`, () => {
    assert.deepEqual(find(build([mount(changes)]), "/data")?.options, options);
  });

const refused: [string, Partial<ContainerMount>, RegExp][] = [
  ["a relative container path", { containerPath: "data" }, /^config\.mounts\[0\]\.container_path is "data"/],
  ["the root as target", { containerPath: "/a/.." }, /^config\.mounts\[0\]\.container_path is "\/"/],
  ["a relative host path", { hostPath: "data" }, /^config\.mounts\[0\]\.host_path is "data"/],
  ["a NUL in the host path", { hostPath: "/a\0b" }, /^config\.mounts\[0\]\.host_path/],
  ["recursive read-only without readonly", { recursiveReadOnly: true }, /recursive_read_only/],
  [
    "recursive read-only with propagation",
    { recursiveReadOnly: true, readonly: true, propagation: "host-to-container" },
    /recursive_read_only needs private/,
  ],
];
for (const [what, changes, message] of refused)
  test(`\`buildMounts()\` refuses ${what}`, () => {
    assert.throws(() => build([mount(changes)]), { code: "invalid-argument", message });
  });

test("`buildMounts()` makes the pod's files read-only with the rootfs", () => {
  for (const [readonlyRootfs, option] of [
    [true, "ro"],
    [false, "rw"],
  ] as const)
    assert.equal(find(build([], { readonlyRootfs }), "/etc/hosts")?.options?.at(-1), option);
});

// CRI LinuxContainerSecurityContext.privileged, item 3.
test("`buildMounts()` gives privileged containers a writable sysfs", () => {
  assert.ok(find(build([]), "/sys")?.options?.includes("ro"));
  assert.ok(find(build([], { privileged: true }), "/sys")?.options?.includes("rw"));
  assert.ok(find(build([], { privileged: true }), "/sys/fs/cgroup")?.options?.includes("rw"));
});

test("`buildMounts()` mounts an image always read-only, in place of a path of the host", () => {
  const image = mount({ hostPath: "", image: { userSpecified: "", reference: "x", subPath: "" } });
  const input = specInput({ config: containerConfig({ mounts: [image] }) });
  const mounts = buildMounts(input);
  assert.deepEqual(find(mounts, "/data")?.options, ["rbind", "rprivate", "ro"]);
  assert.equal(find(mounts, "/data")?.source, "/run/containers/c1/volumes/0");
});

test("`buildMounts()` puts an image's own volumes where nothing else is asked for, and leaves them writable", () => {
  const declaredVolumes = [{ destination: "/var/data", source: "/state/c1/volumes/0" }];
  const input = {
    ...specInput({ config: containerConfig({ security: security({ readonlyRootfs: true }) }) }),
    declaredVolumes,
  };
  assert.deepEqual(find(buildMounts(input), "/var/data"), {
    destination: "/var/data",
    type: "bind",
    source: "/state/c1/volumes/0",
    options: ["rbind", "rprivate", "rw"],
  });
});

test("`buildMounts()` gives terminals no group that the user namespace does not map", () => {
  const inUserNamespace = (length: number) => {
    const ids = [{ hostId: 1000, containerId: 0, length }];
    const namespaces = { ...security().namespaces, user: { mode: "pod" as const, uids: ids, gids: ids } };
    return find(build([], { namespaces }), "/dev/pts")?.options?.includes("gid=5");
  };
  assert.deepEqual([inUserNamespace(5), inUserNamespace(6)], [false, true]);
});

test("`buildMounts()` mounts no message queues that the user namespace has no right to", () => {
  const ids = [{ hostId: 1000, containerId: 0, length: 10 }];
  const has = (ipc: "pod" | "node", user: boolean): boolean => {
    const own = user ? { user: { mode: "pod" as const, uids: ids, gids: ids } } : {};
    return (
      find(build([], { namespaces: { ...security().namespaces, ipc, ...own } }), "/dev/mqueue") !== undefined
    );
  };
  assert.deepEqual([has("pod", true), has("node", true), has("node", false)], [true, false, true]);
});

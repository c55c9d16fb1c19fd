// Every option of a mount (config.md#linux-mount-options) as the container's mount table and files show it.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import { AT_FDCWD, close, mknodat } from "../../../src/linux/files.ts";
import { attachMount, createMount, MNT_DETACH, umount } from "../../../src/linux/mount.ts";
import type { IdMapping } from "../../../src/oci/linux-spec.ts";
import type { Mount, Spec } from "../../../src/oci/spec.ts";
import { leakFree } from "../../support/leak-check.ts";
import { requires } from "../../support/requires.ts";
import { Pod, writeFile } from "./pod-fixture.ts";

/** A tmpfs of the host with another one in `nested`, and files of two owners in both. */
function hostTree(t: TestContext, type: "tmpfs" | "directory" = "tmpfs"): string {
  const root = mkdtempSync("/run/cricket-test-tree-");
  const nested = join(root, "nested");
  // Registered behind the pod's own: by then nothing uses the mounts any more.
  t.after(() => {
    umount(type === "tmpfs" ? root : nested, MNT_DETACH);
    rmSync(root, { recursive: true });
  });
  if (type === "tmpfs") mountTmpfs(root);
  mkdirSync(nested);
  mountTmpfs(nested);
  for (const directory of [root, nested]) {
    for (const owner of [0, 1000]) {
      writeFileSync(join(directory, `of-${owner}`), "x");
      chownSync(join(directory, `of-${owner}`), owner, owner);
    }
  }
  return root;
}

function mountTmpfs(path: string): void {
  const fd = createMount("tmpfs", [["mode", "0755"]]);
  try {
    attachMount(fd, path);
  } finally {
    close(fd);
  }
}

const adds =
  (...mounts: Mount[]) =>
  (spec: Spec): void => {
    spec.mounts?.push(...mounts);
  };

/** What mountinfo says of one mount point: its options, and whether it is shared, a slave, private or unbindable. */
function shown(table: string, point: string): { options: string[]; propagation: string } {
  const line = table.split("\n").find((entry) => entry.split(" ")[4] === point);
  assert.ok(line !== undefined, `${point} is not mounted:\n${table}`);
  const [, , , , , options = "", ...rest] = line.split(" ");
  const propagation = rest.slice(0, rest.indexOf("-")).map((field) => field.replace(/:\d+$/, ""));
  return { options: options.split(","), propagation: propagation.join(" ") };
}

/** Options of a bind mount of a tree; what its top and its nested mount have then, of the options in question. */
const attributes: [options: string[], top: string, nested: string][] = [
  [["ro"], "ro,relatime", "rw,relatime"],
  [["rro"], "ro,relatime", "ro,relatime"],
  [["ro", "rw"], "rw,relatime", "rw,relatime"],
  [["rro", "rrw"], "rw,relatime", "rw,relatime"],
  [["nosuid", "nodev", "noexec"], "rw,nosuid,nodev,noexec,relatime", "rw,relatime"],
  [["rnosuid", "rnodev", "rnoexec"], "rw,nosuid,nodev,noexec,relatime", "rw,nosuid,nodev,noexec,relatime"],
  [["nosuid", "suid", "nodev", "dev", "noexec", "exec"], "rw,relatime", "rw,relatime"],
  [["rnosuid", "rsuid", "rnodev", "rdev", "rnoexec", "rexec"], "rw,relatime", "rw,relatime"],
  [["nosymfollow"], "rw,relatime,nosymfollow", "rw,relatime"],
  [["rnosymfollow"], "rw,relatime,nosymfollow", "rw,relatime,nosymfollow"],
  [["rnosymfollow", "rsymfollow"], "rw,relatime", "rw,relatime"],
  [["nosymfollow", "symfollow"], "rw,relatime", "rw,relatime"],
  [["noatime"], "rw,noatime", "rw,relatime"],
  [["rnoatime"], "rw,noatime", "rw,noatime"],
  [["rnoatime", "ratime"], "rw,relatime", "rw,relatime"],
  [["noatime", "atime"], "rw,relatime", "rw,relatime"],
  [["noatime", "relatime"], "rw,relatime", "rw,relatime"],
  [["rnoatime", "rrelatime"], "rw,relatime", "rw,relatime"],
  [["strictatime"], "rw", "rw,relatime"],
  [["rstrictatime"], "rw", "rw"],
  [["norelatime"], "rw", "rw,relatime"],
  [["rnorelatime"], "rw", "rw"],
  [["strictatime", "nostrictatime"], "rw,relatime", "rw,relatime"],
  [["rstrictatime", "rnostrictatime"], "rw,relatime", "rw,relatime"],
  [["nodiratime"], "rw,nodiratime,relatime", "rw,relatime"],
  [["rnodiratime"], "rw,nodiratime,relatime", "rw,nodiratime,relatime"],
  [["nodiratime", "diratime"], "rw,relatime", "rw,relatime"],
  [["rnodiratime", "rdiratime"], "rw,relatime", "rw,relatime"],
  [["defaults", "silent", "loud"], "rw,relatime", "rw,relatime"],
];

const propagations: [option: string, top: string, nested: string][] = [
  ["private", "", "shared"],
  ["rprivate", "", ""],
  ["shared", "shared", ""],
  ["rshared", "shared", "shared"],
  ["slave", "master", "shared"],
  ["rslave", "master", "master"],
  ["unbindable", "unbindable", "shared"],
  ["runbindable", "unbindable", "unbindable"],
];

describe("a mount with the option", requires("root"), () => {
  test("of an attribute has it, alone or with all that is mounted in it", async (t) => {
    const pod = await Pod.start(t);
    const source = hostTree(t);
    const mounts = attributes.map(([options], index): Mount => ({
      destination: `/m${index}`,
      source,
      options: ["rbind", "rprivate", ...options],
    }));
    const report = await pod.report([], { change: adds(...mounts) });
    const seen = attributes.map(([options], index): (typeof attributes)[number] => [
      options,
      shown(report.mounts, `/m${index}`).options.join(),
      shown(report.mounts, `/m${index}/nested`).options.join(),
    ]);
    assert.deepEqual(seen, attributes);
  });

  for (const [option, top, nested] of propagations)
    test(`${option} has that propagation`, async (t) => {
      const pod = await Pod.start(t, { sharedDirectory: true });
      const source = hostTree(t);
      execFileSync("mount", ["--make-rshared", source]);
      const report = await pod.report([], {
        change: adds({ destination: "/m", source, options: ["rbind", option] }),
        parentMount: pod.directory,
      });
      const { propagation } = shown(report.mounts, "/m");
      // The master of a slave, and the peers of a shared mount, are those of the host.
      assert.equal(propagation.split(" ").at(0), top);
      if (option.startsWith("r") && option !== "rshared")
        assert.equal(shown(report.mounts, "/m/nested").propagation, nested);
    });

  test("bind takes no mounts below along, rbind all", async (t) => {
    const pod = await Pod.start(t);
    const source = hostTree(t);
    const { paths } = await pod.report(["/one/nested/of-0", "/all/nested/of-0"], {
      change: adds(
        { destination: "/one", source, options: ["bind"] },
        { destination: "/all", source, options: ["rbind"] },
      ),
    });
    assert.equal(paths["/one/nested/of-0"]?.error, "ENOENT");
    assert.equal(paths["/all/nested/of-0"]?.error, undefined);
  });

  test("remount changes what an earlier mount has put there", async (t) => {
    const pod = await Pod.start(t);
    const report = await pod.report([], {
      change: adds(
        { destination: "/m", source: hostTree(t), options: ["rbind", "rprivate"] },
        { destination: "/m", options: ["remount", "bind", "ro", "noexec", "rnosuid"] },
      ),
    });
    assert.equal(shown(report.mounts, "/m").options.join(), "ro,nosuid,noexec,relatime");
    assert.equal(shown(report.mounts, "/m/nested").options.join(), "rw,nosuid,relatime");
  });

  test("of a filesystem reaches it", async (t) => {
    const pod = await Pod.start(t);
    const { mounts, paths } = await pod.report(["/m"], {
      change: adds({
        destination: "/m",
        type: "tmpfs",
        source: "named",
        options: ["size=128k", "mode=0700", "nr_inodes=17", "sync", "dirsync", "lazytime", "uid=7"],
      }),
    });
    const line = mounts.split("\n").find((entry) => entry.includes(" /m "));
    assert.match(line ?? "", / - tmpfs named rw,sync,dirsync,lazytime,size=128k,nr_inodes=17,mode=700,uid=7/);
    assert.equal(paths["/m"]?.uid, 7);
  });

  test(
    "that the filesystem refuses is named, and leaves nothing",
    leakFree(async (t) => {
      const pod = await Pod.start(t);
      const change = adds({ destination: "/m", type: "tmpfs", options: ["size=nonsense"] });
      await assert.rejects(pod.create({ change }), /mount tmpfs on \/m.*size.*EINVAL/);
    }),
  );

  test("mounts go in order over links, and never out of the root", async (t) => {
    const pod = await Pod.start(t);
    const source = hostTree(t);
    const { paths, mounts } = await pod.report(["/a/real/of-0", "/etc/out/of-0"], {
      image: (root) => {
        mkdirSync(join(root, "a/real"), { recursive: true });
        symlinkSync("a", join(root, "link"));
        symlinkSync("../../../../etc/out", join(root, "up"));
      },
      change: adds(
        { destination: "/link/real", source, options: ["bind"] },
        { destination: "/up", source, options: ["bind"] },
      ),
    });
    assert.equal(paths["/a/real/of-0"]?.error, undefined);
    assert.equal(paths["/etc/out/of-0"]?.error, undefined);
    shown(mounts, "/a/real");
    shown(mounts, "/etc/out");
  });
});

// On another filesystem than the one that is covered.
const withoutFilesystem = (paths: object): unknown =>
  JSON.parse(JSON.stringify(paths, (key, value: unknown) => (key === "filesystem" ? undefined : value)));

describe("a tmpfs with tmpcopyup", requires("root"), () => {
  const image = (root: string): void => {
    writeFile(root, "data/file", "content");
    writeFile(root, "data/deep/er/program", "x");
    chmodSync(join(root, "data/deep/er/program"), 0o4751);
    chmodSync(join(root, "data"), 0o1770);
    symlinkSync("/etc/passwd", join(root, "data/link"));
    mknodat(AT_FDCWD, join(root, "data/fifo"), 0o10644, 0n);
  };
  const paths = ["/data", "/data/file", "/data/deep/er/program", "/data/link", "/data/fifo", "/data/deep"];
  const mount: Mount = { destination: "/data", type: "tmpfs", options: ["tmpcopyup", "nodev"] };

  test("begins with what it covers: owners, modes, links and content", async (t) => {
    const pod = await Pod.start(t);
    const seen = await pod.report(paths, { image, change: adds(mount) });
    const below = await pod.report(paths, { image });
    assert.deepEqual(withoutFilesystem(seen.paths), withoutFilesystem(below.paths));
    assert.equal(seen.paths["/data/file"]?.content, "content");
    assert.match(seen.mounts, / \/data rw,nodev/);
  });

  test("can be read-only, and have a mode of its own", async (t) => {
    const pod = await Pod.start(t);
    const options = ["tmpcopyup", "ro", "mode=0711"];
    const seen = await pod.report(paths, { image, change: adds({ ...mount, options }) });
    assert.equal(seen.paths["/data"]?.mode, "711");
    assert.equal(seen.paths["/data"]?.writable, false);
    assert.equal(seen.paths["/data/file"]?.content, "content");
  });

  test(
    "works in a user namespace, and where there is nothing to copy",
    requires("user-namespaces"),
    async (t) => {
      const pod = await Pod.start(t, { firstHostId: 300_000 });
      const seen = await pod.report(["/data/file", "/none"], {
        image,
        change: adds(mount, { ...mount, destination: "/none" }),
      });
      assert.deepEqual([seen.paths["/data/file"]?.content, seen.paths["/data/file"]?.uid], ["content", 0]);
      assert.equal(seen.paths["/none"]?.error, undefined);
    },
  );

  test(
    "of more than fits is refused, and leaves nothing",
    leakFree(async (t) => {
      const pod = await Pod.start(t);
      const big = (root: string): void => writeFile(root, "data/big", "x".repeat(200_000));
      const change = adds({ ...mount, options: ["tmpcopyup", "size=64k"] });
      await assert.rejects(pod.create({ image: big, change }), /mount tmpfs on \/data.*ENOSPC/);
    }),
  );

  test("never follows a link out of the root", async (t) => {
    const pod = await Pod.start(t);
    const secret = join(pod.directory, "secret");
    mkdirSync(secret);
    writeFileSync(join(secret, "of-the-host"), "x");
    const seen = await pod.report(["/data/of-the-host", "/data"], {
      image: (root) => symlinkSync(secret, join(root, "data")),
      change: adds(mount),
    });
    assert.equal(seen.paths["/data/of-the-host"]?.error, "ENOENT");
  });
});

const shifted: IdMapping[] = [{ containerID: 0, hostID: 5000, size: 65_536 }];

describe("an idmapped mount", requires("root", "user-namespaces"), () => {
  const files = ["of-0", "of-1000", "nested/of-0"].map((name) => `/m/${name}`);
  const owners = (paths: Awaited<ReturnType<Pod["report"]>>["paths"]): unknown[] =>
    files.map((file) => [paths[file]?.uid, paths[file]?.gid]);

  for (const type of ["directory", "tmpfs"] as const)
    test(
      `of a ${type} has its own mappings, alone`,
      leakFree(async (t) => {
        const pod = await Pod.start(t);
        const source = hostTree(t, type);
        const change = adds({
          destination: "/m",
          source,
          options: ["rbind"],
          uidMappings: shifted,
          gidMappings: shifted,
        });
        assert.deepEqual(owners((await pod.report(files, { change })).paths), [
          [5000, 5000],
          [6000, 6000],
          [0, 0],
        ]);
      }),
    );

  test("with ridmap maps what is mounted below, too", async (t) => {
    const pod = await Pod.start(t);
    const mount: Mount = { destination: "/m", source: hostTree(t), options: ["rbind", "ridmap"] };
    const change = adds({ ...mount, uidMappings: shifted, gidMappings: shifted });
    const { paths } = await pod.report(files, { change });
    assert.deepEqual(owners(paths), [
      [5000, 5000],
      [6000, 6000],
      [5000, 5000],
    ]);
  });

  test("in a container with a user namespace takes that one's mappings", async (t) => {
    const pod = await Pod.start(t, { firstHostId: 300_000 });
    const mount: Mount = { destination: "/m", source: hostTree(t), options: ["rbind", "idmap"] };
    const mapped = await pod.report(files, { change: adds(mount) });
    assert.deepEqual(owners(mapped.paths), [
      [0, 0],
      [1000, 1000],
      [65_534, 65_534],
    ]);
    const recursive = await pod.report(files, { change: adds({ ...mount, options: ["rbind", "ridmap"] }) });
    assert.deepEqual(owners(recursive.paths), [
      [0, 0],
      [1000, 1000],
      [0, 0],
    ]);
    const plain = await pod.report(files, { change: adds({ ...mount, options: ["rbind"] }) });
    assert.deepEqual(
      owners(plain.paths),
      files.map(() => [65_534, 65_534]),
    );
  });

  test("is reached through directories that only the host's root may pass", async (t) => {
    const pod = await Pod.start(t, { firstHostId: 300_000 });
    const locked = join(pod.directory, "locked");
    mkdirSync(join(locked, "in"), { recursive: true, mode: 0o700 });
    writeFileSync(join(locked, "in/file"), "seen");
    const change = adds({ destination: "/m", source: join(locked, "in"), options: ["rbind", "idmap"] });
    const { paths } = await pod.report(["/m/file"], { change });
    assert.equal(paths["/m/file"]?.content, "seen");
  });

  test("gives the host files with the ids of the container", async (t) => {
    const pod = await Pod.start(t, { firstHostId: 300_000 });
    const source = mkdtempSync(join(pod.directory, "made-"));
    const tmpfs: Mount = { destination: "/m", source, options: ["rbind", "idmap"] };
    // A mount point that is made inside: by root of the user namespace, so by root on the disk.
    await pod.report([], { change: adds(tmpfs, { destination: "/m/made", type: "tmpfs" }) });
    const { uid, gid } = statSync(join(source, "made"));
    assert.deepEqual([uid, gid], [0, 0]);
  });

  test(
    "of a filesystem that cannot be idmapped is refused by name, and leaves nothing",
    leakFree(async (t) => {
      const pod = await Pod.start(t);
      const change = adds({
        destination: "/m",
        source: "/proc/sys",
        options: ["bind"],
        uidMappings: shifted,
        gidMappings: shifted,
      });
      await assert.rejects(pod.create({ change }), /\/proc\/sys.*cannot be idmapped.*EINVAL/);
    }),
  );
});

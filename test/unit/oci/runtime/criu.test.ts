// What criu is told, and what is read of what it leaves.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { parseMountinfo } from "../../../../src/linux/mountinfo.ts";
import { dumpArgs, restoreArgs, type CriuOptions } from "../../../../src/oci/runtime/criu-args.ts";
import { externalMounts, externalsOfRestore } from "../../../../src/oci/runtime/criu-externals.ts";
import {
  criuFailure,
  findCriu,
  lastErrors,
  parseDescriptors,
  prepareDirectory,
} from "../../../../src/oci/runtime/criu-program.ts";
import { makeMountPoints } from "../../../../src/oci/runtime/mount-points.ts";
import { cgroupRoots } from "../../../../src/oci/runtime/restore.ts";
import type { Spec } from "../../../../src/oci/spec.ts";

const plain: CriuOptions = {
  tcpEstablished: false,
  extUnixSk: false,
  shellJob: false,
  fileLocks: false,
  manageCgroups: "soft",
};
const places = { images: "/i", work: "/w" };
const dump = {
  ...plain,
  leaveRunning: false,
  preDump: false,
  parentPath: undefined,
  autoDedup: false,
  emptyNetwork: false,
  pageServer: undefined,
};
const spec = (more: Partial<Spec>): Spec => ({ ociVersion: "1.2.0", ...more });

describe("criu's command line", () => {
  it("of a dump", () => {
    assert.deepEqual(
      dumpArgs(7, dump, places, ["mnt[/a b]:/a b"]).join("|"),
      [
        "dump|--tree|7|--images-dir|/i|--work-dir|/w|--log-file|dump.log|-v4",
        "--external|mnt[/a b]:/a b|--manage-cgroups=soft",
      ].join("|"),
    );
  });

  it("of a dump with everything", () => {
    const all = { tcpEstablished: true, extUnixSk: true, shellJob: true, fileLocks: true };
    const pageServer = { address: "::1", port: 9 };
    const options = {
      ...dump,
      ...all,
      leaveRunning: true,
      parentPath: "../p",
      autoDedup: true,
      emptyNetwork: true,
    };
    assert.deepEqual(dumpArgs(7, { ...options, pageServer }, places, []).slice(10), [
      "--manage-cgroups=soft",
      ..."--tcp-established --ext-unix-sk --shell-job --file-locks --leave-running --track-mem".split(" "),
      ..."--prev-images-dir ../p --auto-dedup --empty-ns net --page-server --address ::1 --port 9".split(" "),
    ]);
  });

  it("a dump ahead leaves the container running by itself", () => {
    const args = dumpArgs(7, { ...dump, preDump: true, leaveRunning: true }, places, []);
    assert.equal(args[0], "pre-dump");
    assert.ok(args.includes("--track-mem") && !args.includes("--leave-running"));
  });

  it("of a restore: descriptors keep their numbers where one is not wanted", () => {
    const args = restoreArgs(plain, places, {
      rootfs: "/r",
      pidFile: "/p",
      externals: ["mnt[/d]:/s"],
      inherited: [undefined, "pipe:[5]", "file[1a:2b]", "extRootNetNS"],
      cgroupRoots: ["cpu:/c", "/c"],
      emptyNetwork: true,
    });
    assert.deepEqual(
      args.join(" "),
      [
        "restore --restore-detached --images-dir /i --work-dir /w --log-file restore.log -v4 --root /r --pidfile /p",
        "--external mnt[/d]:/s --inherit-fd fd[4]:pipe:[5] --inherit-fd fd[5]:file[1a:2b]",
        "--inherit-fd fd[6]:extRootNetNS --manage-cgroups=soft --cgroup-root cpu:/c --cgroup-root /c --empty-ns net",
      ].join(" "),
    );
  });
});

describe("what is not the container's own", () => {
  const mounts = parseMountinfo(
    [
      "1 0 8:1 /rootfs / rw - ext4 /dev/a rw",
      "2 1 0:5 / /proc rw - proc proc rw",
      "3 2 0:6 /null /proc/keys rw - devtmpfs devtmpfs rw",
      "4 2 0:7 / /proc/acpi ro - tmpfs none rw",
      "5 1 8:1 /secret /run/secret rw - ext4 /dev/a rw",
      "6 1 0:8 / /sys/fs/cgroup ro - tmpfs cgroup rw",
      "7 6 0:9 /c /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu",
    ].join("\n"),
  );
  const ids: Record<string, number> = {
    "/proc/keys": 3,
    "/proc/acpi": 4,
    "/proc/kcore": 2,
    "/var/run/secret": 5,
  };
  const listed = spec({
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/var/run/secret", source: "/secret", options: ["rbind"] },
      { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup" },
    ],
    linux: { maskedPaths: ["/proc/keys", "/proc/acpi", "/proc/kcore", "/proc/none"] },
  });
  const layout = {
    kind: "v1" as const,
    v1: [{ version: 1 as const, root: "/sys/fs/cgroup/cpu", controllers: ["cpu", "cpuacct"] }],
    unified: undefined,
  };

  it("in a dump: bind mounts as the kernel has them, masks by a device, cgroup v1", () => {
    assert.deepEqual(
      externalMounts(mounts, listed, (path) => ids[path]),
      [
        "mnt[/run/secret]:/var/run/secret",
        "mnt[/proc/keys]:/dev/null",
        "mnt[/sys/fs/cgroup/cpu]:/sys/fs/cgroup/cpu",
      ],
    );
  });

  it("in a restore: the same keys, with where they come from now", () => {
    assert.deepEqual(externalsOfRestore(listed, "/new", layout), [
      "mnt[/var/run/secret]:/secret",
      "mnt[/sys/fs/cgroup/cpu]:/sys/fs/cgroup/cpu/new",
      "mnt[/dev/null]:/dev/null",
    ]);
  });

  it("cgroups are told by controller, those that are not cricket's stay", () => {
    const roots = cgroupRoots("/new", layout);
    assert.deepEqual(roots.slice(0, 2), ["cpu:/new", "cpuacct:/new"]);
    const unified = { version: 2 as const, root: "/sys/fs/cgroup", controllers: [] };
    assert.deepEqual(cgroupRoots("/new", { kind: "v2", v1: [], unified }), ["/new"]);
  });
});

describe("what criu leaves", () => {
  it("the last errors of its log, without the time", () => {
    const log = [
      "(00.02) Error (criu/util.c:1): first",
      "(00.03) Warn  (criu/x.c:2): no Error at all",
      "(00.04) pie: 1: Error (criu/pie/a.c:3): second",
    ].join("\n");
    assert.deepEqual(lastErrors(log), ["Error (criu/util.c:1): first", "Error (criu/pie/a.c:3): second"]);
  });

  it("what it prints where there is no log", () => {
    const { message } = criuFailure("dump", "/no/dump.log", "a\ncannot run\n");
    assert.equal(message, "criu dump failed: a; cannot run (/no/dump.log)");
  });

  it("of descriptors only pipes and files are taken", () => {
    const text = JSON.stringify(["/dev/null", "pipe:[12]", "file[1a:b]", "pipe:[3]"]);
    assert.deepEqual(parseDescriptors(text, "d"), [undefined, "pipe:[12]", "file[1a:b]"]);
    assert.deepEqual(parseDescriptors('["pipe:[1] --x"]', "d"), [undefined]);
    for (const bad of ["", "{}", "[1]"])
      assert.throws(() => parseDescriptors(bad, "d"), /^CricketError: d: /);
  });
});

describe("files of a checkpoint", () => {
  let directory: string;
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "cricket-criu-"))));
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it("a directory is made for its owner alone, and none that a link leads to is taken", () => {
    const images = join(directory, "a/b");
    prepareDirectory(images, "--image-path");
    assert.equal(statSync(images).mode & 0o777, 0o700);
    symlinkSync(images, join(directory, "link"));
    assert.throws(() => prepareDirectory(join(directory, "link"), "--image-path"), /--image-path .*link/);
    writeFileSync(join(directory, "file"), "");
    assert.throws(() => prepareDirectory(join(directory, "file"), "--image-path"), /--image-path .*file/);
  });

  it("criu is found in the path that is given", () => {
    writeFileSync(join(directory, "criu"), "", { mode: 0o755 });
    assert.equal(findCriu(`relative:/no/such:${directory}`), join(directory, "criu"));
  });

  it("mount points are made inside of the rootfs, and not below other mounts", () => {
    const rootfs = join(directory, "rootfs");
    mkdirSync(join(rootfs, "var"), { recursive: true });
    mkdirSync(join(directory, "run"));
    symlinkSync("/run", join(rootfs, "var/run"));
    mkdirSync(join(rootfs, "run"));
    const file = join(directory, "source");
    writeFileSync(file, "");
    const bind = (destination: string, source: string) => ({ destination, source, type: "bind" });
    makeMountPoints(
      rootfs,
      spec({
        mounts: [
          { destination: "/dev", type: "tmpfs", source: "tmpfs" },
          { destination: "/dev/pts", type: "devpts", source: "devpts" },
          bind("/var/run/deep/file", file),
          bind("/data", directory),
        ],
      }),
    );
    assert.ok(statSync(join(rootfs, "run/deep/file")).isFile());
    for (const name of ["dev", "data"]) assert.ok(statSync(join(rootfs, name)).isDirectory());
    for (const path of ["rootfs/dev/pts", "run/deep"])
      assert.throws(() => statSync(join(directory, path)), /ENOENT/);
  });
});

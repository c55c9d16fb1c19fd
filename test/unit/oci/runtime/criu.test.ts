// What criu is told, and what is read of what it leaves.
import assert from "node:assert/strict";
import { closeSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import fc from "fast-check";
import { parseMountinfo } from "../../../../src/linux/mountinfo.ts";
import {
  criuType,
  decodeResponse,
  encodeNotified,
  encodeRequest,
} from "../../../../src/oci/runtime/criu-message.ts";
import { dumpRequest, restoreRequest, type CriuOptions } from "../../../../src/oci/runtime/criu-request.ts";
import { CriuFailure } from "../../../../src/oci/runtime/criu-session.ts";
import { externalMounts, externalsOfRestore } from "../../../../src/oci/runtime/criu-externals.ts";
import {
  criuFailure,
  findCriu,
  lastErrors,
  parseDescriptors,
  prepareDirectory,
} from "../../../../src/oci/runtime/criu-program.ts";
import { makeMountPoints } from "../../../../src/oci/runtime/mount-points.ts";
import { cgroupRoots, checkRestorable } from "../../../../src/oci/runtime/restore-plan.ts";
import type { Spec } from "../../../../src/oci/spec.ts";

const plain: CriuOptions = {
  tcpEstablished: false,
  extUnixSk: false,
  shellJob: false,
  fileLocks: false,
  manageCgroups: "soft",
  lazyPages: false,
};
const directories = { images: 5, work: 6 };
const dump = {
  ...plain,
  leaveRunning: false,
  preDump: false,
  parentPath: undefined,
  autoDedup: false,
  emptyNetwork: false,
  pageServer: undefined,
  statusFd: undefined,
};
const spec = (more: Partial<Spec>): Spec => ({ ociVersion: "1.2.0", ...more });

describe("what criu is asked for", () => {
  const shared = {
    imagesDirFd: 5,
    workDirFd: 6,
    logLevel: 4,
    notifyScripts: true,
    orphanPtsMaster: true,
    manageCgroups: true,
    manageCgroupsMode: 3,
  };

  it("of a dump", () => {
    assert.deepEqual(dumpRequest(7, dump, directories, ["mnt[/a b]:/a b"]), {
      ...shared,
      logFile: "dump.log",
      pid: 7,
      external: ["mnt[/a b]:/a b"],
    });
  });

  it("of a dump with everything", () => {
    const all = { tcpEstablished: true, extUnixSk: true, shellJob: true, fileLocks: true, lazyPages: true };
    const pageServer = { address: "::1", port: 9 };
    const options = {
      ...dump,
      ...all,
      leaveRunning: true,
      parentPath: "../p",
      autoDedup: true,
      emptyNetwork: true,
      manageCgroups: "ignore" as const,
    };
    assert.deepEqual(dumpRequest(7, { ...options, pageServer }, directories, []), {
      ...shared,
      ...all,
      logFile: "dump.log",
      manageCgroups: false,
      manageCgroupsMode: 0,
      pid: 7,
      external: [],
      leaveRunning: true,
      trackMem: true,
      parentImg: "../p",
      autoDedup: true,
      emptyNs: 0x40000000,
      pageServer,
    });
  });

  it("a dump ahead leaves the container running by itself", () => {
    const request = dumpRequest(7, { ...dump, preDump: true, leaveRunning: true }, directories, []);
    assert.deepEqual([request.trackMem, request.leaveRunning], [true, undefined]);
  });

  it("of a restore", () => {
    const plan = {
      rootfs: "/r",
      externals: ["mnt[/d]:/s"],
      inherited: [{ key: "pipe:[5]", fd: 1 }],
      joined: [{ ns: "ipc", nsFile: "/f" }],
      cgroupRoots: [{ ctrl: "cpu", path: "/c" }, { path: "/c" }],
      configFile: "/m",
      emptyNetwork: true,
      autoDedup: false,
      sibling: false,
      lsmProfile: "apparmor:p",
      lsmMountContext: undefined,
    };
    assert.deepEqual(restoreRequest(plain, directories, plan), {
      ...shared,
      logFile: "restore.log",
      root: "/r",
      external: ["mnt[/d]:/s"],
      inheritFd: [{ key: "pipe:[5]", fd: 1 }],
      joinNs: [{ ns: "ipc", nsFile: "/f" }],
      cgRoot: [{ ctrl: "cpu", path: "/c" }, { path: "/c" }],
      configFile: "/m",
      evasiveDevices: true,
      emptyNs: 0x40000000,
      lsmProfile: "apparmor:p",
    });
  });
});

describe("messages of criu's RPC", () => {
  it("a request, byte by byte", () => {
    const options = { imagesDirFd: 300, leaveRunning: true, logFile: "d", cgRoot: [{ path: "/" }] };
    assert.equal(
      Buffer.from(encodeRequest(criuType.dump, options)).toString("hex"),
      ["0801", "120e", "08ac02", "1801", "520164", "ca0103", "12012f"].join(""),
    );
    assert.equal(Buffer.from(encodeNotified(true)).toString("hex"), "08061801");
  });

  it("answers: notifications, results, what is not known is passed over", () => {
    const decode = (hex: string) => decodeResponse(Buffer.from(hex, "hex"));
    const { notify, success } = decode("080610012a050a01781005");
    assert.deepEqual([notify, success], [{ script: "x", pid: 5 }, true]);
    assert.equal(decode("080210012203089a05").pid, 666);
    const failed = decode("08021000380b4a02" + "6f68" + "ea0f" + "01ff" + "f90f" + "0011223344556677");
    assert.deepEqual([failed.success, failed.errno, failed.message], [false, 11, "oh"]);
  });

  it("`decodeResponse()` throws for anything else, and for nothing but that", () => {
    for (const hex of ["08", "2aff", "0f", "08ffffffffffffffffffff01"])
      assert.throws(() => decodeResponse(Buffer.from(hex, "hex")), /no message of its RPC/);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          decodeResponse(Buffer.from(bytes));
        } catch (error) {
          assert.match(String(error), /no message of its RPC/);
        }
      }),
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
    assert.deepEqual(roots.slice(0, 2), [
      { ctrl: "cpu", path: "/new" },
      { ctrl: "cpuacct", path: "/new" },
    ]);
    const unified = { version: 2 as const, root: "/sys/fs/cgroup", controllers: [] };
    assert.deepEqual(cgroupRoots("/new", { kind: "v2", v1: [], unified }), [{ path: "/new" }]);
  });

  it("`checkRestorable()` warns of what differs, and refuses a user namespace that exists", () => {
    const namespaces = [
      { type: "network" as const, path: "/n" },
      { type: "cgroup" as const, path: "/c" },
    ];
    const root = { path: "/r" };
    const hooks = { createRuntime: [{ path: "/h" }], startContainer: [{ path: "/h" }] };
    assert.deepEqual(checkRestorable(spec({ root, hooks, linux: { namespaces } })), [
      "linux.namespaces: a restored container has a cgroup namespace of its own",
      "hooks.startContainer: not run at a restore",
    ]);
    const user = { namespaces: [{ type: "user" as const, path: "/u" }] };
    assert.throws(() => checkRestorable(spec({ root, linux: user })), /user namespace/);
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

  it("what its answer says where there is no log; errors of others stay as they are", () => {
    const { message } = criuFailure("dump", "/no/dump.log", new CriuFailure("criu dump: errno 5", "cannot"));
    assert.equal(message, "criu dump failed: cannot (/no/dump.log)");
    const silent = criuFailure("dump", "/no/dump.log", new CriuFailure("criu dump: errno 5", ""));
    assert.equal(silent.message, "criu dump failed: criu dump: errno 5 (/no/dump.log)");
    const other = new Error("hook");
    assert.equal(criuFailure("dump", "/no/dump.log", other), other);
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
    closeSync(prepareDirectory(images, "--image-path"));
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

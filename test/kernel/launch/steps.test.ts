// Each kind of step, as the probe sees its effect from inside.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { after, before, beforeEach, afterEach, describe, it } from "node:test";
import { createMount } from "../../../src/linux/mount.ts";
import { close, makedev } from "../../../src/linux/files.ts";
import type { HelperBinary } from "../../../src/linux/helper-binary.ts";
import { type Step } from "../../../src/linux/launch-program.ts";
import { LaunchFixture, loadHelper, reportOf } from "../../support/launch-fixture.ts";
import { requires } from "../../support/requires.ts";

const MOUNT_ATTR_RDONLY = 1;
const MOUNT_ATTR_NOSUID = 2;
const MOUNT_ATTR_NODEV = 4;

describe("launch steps", requires("root"), () => {
  let helper: HelperBinary;
  let fixture: LaunchFixture;
  before(() => {
    helper = loadHelper();
  });
  after(() => helper.close());
  beforeEach(() => {
    fixture = new LaunchFixture();
  });
  afterEach(() => fixture.dispose());

  const pivot: Step = { op: "pivotRoot" };

  it("gives namespaces, a session and process 1", async () => {
    const report = await reportOf(helper, fixture, [...fixture.inRootfs(), pivot]);
    assert.deepEqual([report.pid, report.ppid, report.session], [1, 0, 1]);
    assert.deepEqual(report.env, []);
    assert.deepEqual(report.argv, ["/probe", "report"]);
  });

  it("leaves the container nothing but stdio", async () => {
    const report = await reportOf(helper, fixture, [...fixture.inRootfs(), pivot]);
    assert.deepEqual(
      report.descriptors.map(({ fd, type, device }) => [fd, type, device]),
      [
        [0, "20000", "1:3"],
        [1, "10000", "0:0"],
        [2, "10000", "0:0"],
      ],
    );
  });

  it("gives the container its own /dev/null, not the host's", async () => {
    const report = await reportOf(helper, fixture, [...fixture.inRootfs(), pivot], "/dev/null");
    assert.equal(report.descriptors[0]?.filesystem, report.paths["/dev/null"]?.filesystem);
  });

  it("resets signals and umask whatever the daemon had", async () => {
    const report = await reportOf(helper, fixture, [...fixture.inRootfs(), pivot]);
    assert.deepEqual(report.ignoredSignals, []);
    assert.deepEqual(report.blockedSignals, []);
    assert.equal(report.umask, "22");
  });

  it("sets names, umask, limits, priorities and the working directory", async () => {
    const report = await reportOf(helper, fixture, [
      ...fixture.inRootfs(),
      { op: "sethostname", name: "box" },
      { op: "setdomainname", name: "example" },
      { op: "rlimit", resource: 7, soft: 100n, hard: 200n },
      { op: "writeProc", path: "/proc/self/oom_score_adj", value: "500" },
      { op: "ioPriority", value: (2 << 13) | 5 },
      {
        op: "scheduler",
        policy: 3,
        nice: 5,
        priority: 0,
        flags: 0n,
        runtimeNs: 0n,
        deadlineNs: 0n,
        periodNs: 0n,
      },
      { op: "cpuAffinity", mask: Uint8Array.of(1) },
      { op: "personality", domain: 0x0040000 },
      pivot,
      { op: "umask", mask: 0o27 },
      { op: "chdir", path: "/work/here", create: true },
    ]);
    const { hostname, domainname, limits, nice, scheduler, ioPriority, cpus, cwd, umask } = report;
    assert.deepEqual(
      { hostname, domainname, nice, scheduler, ioPriority, cpus, cwd, umask, files: limits[7] },
      {
        hostname: "box",
        domainname: "example",
        nice: 5,
        scheduler: 3,
        ioPriority: (2 << 13) | 5,
        cpus: [0],
        cwd: "/work/here",
        umask: "27",
        files: ["100", "200"],
      },
    );
    assert.equal(report.oomScoreAdj?.trim(), "500");
    assert.equal(report.personality, 0x0040000);
  });

  it("writes sysctls of the new namespaces through the host's procfs", async () => {
    const report = await reportOf(
      helper,
      fixture,
      [
        ...fixture.inRootfs({ op: "writeProc", path: "/proc/sys/kernel/shmmni", value: "1234" }),
        { op: "writeProc", path: "/proc/sys/net/ipv4/ip_unprivileged_port_start", value: "99" },
        pivot,
      ],
      "/proc/sys/kernel/shmmni",
      "/proc/sys/net/ipv4/ip_unprivileged_port_start",
    );
    assert.equal(report.paths["/proc/sys/kernel/shmmni"]?.content, "1234\n");
    assert.equal(report.paths["/proc/sys/net/ipv4/ip_unprivileged_port_start"]?.content, "99\n");
    assert.notEqual(readFileSync("/proc/sys/kernel/shmmni", "utf8"), "1234\n");
  });

  it("makes directories, devices and links with their owners, and keeps what exists", async () => {
    mkdirSync(fixture.path("kept"), { mode: 0o711 });
    symlinkSync("elsewhere", fixture.path("link"));
    const report = await reportOf(
      helper,
      fixture,
      [
        ...fixture.inRootfs(),
        { op: "mkdirInRoot", path: "/a/b/c", mode: 0o1770, uid: 5, gid: 6 },
        { op: "mkdirInRoot", path: "/kept", mode: 0o777, uid: 5, gid: 6 },
        { op: "mknodInRoot", path: "/a/full", mode: 0o20640, device: makedev(1, 7), uid: 7, gid: 8 },
        { op: "mknodInRoot", path: "/dev/null", mode: 0o20666, device: makedev(1, 3), uid: 0, gid: 0 },
        { op: "symlinkInRoot", linkTarget: "/proc/self/fd", path: "/dev/fd" },
        { op: "symlinkInRoot", linkTarget: "other", path: "/link" },
        pivot,
      ],
      "/a",
      "/a/b/c",
      "/kept",
      "/a/full",
      "/dev/fd",
      "/link",
    );
    const { paths } = report;
    assert.deepEqual([paths["/a"]?.mode, paths["/a"]?.uid], ["755", 0]);
    assert.deepEqual([paths["/a/b/c"]?.mode, paths["/a/b/c"]?.uid, paths["/a/b/c"]?.gid], ["1770", 5, 6]);
    assert.deepEqual([paths["/kept"]?.mode, paths["/kept"]?.uid], ["711", 0]);
    const { mode, device, uid, gid } = paths["/a/full"]!;
    assert.deepEqual([mode, device, uid, gid], ["640", "1:7", 7, 8]);
    assert.equal(paths["/dev/fd"]?.target, "/proc/self/fd");
    assert.equal(paths["/link"]?.target, "elsewhere");
  });

  it("mknodInRoot refuses another node of the same name", async () => {
    const steps: Step[] = [
      ...fixture.inRootfs({
        op: "mknodInRoot",
        path: "/dev/zero",
        mode: 0o20666,
        device: makedev(1, 3),
        uid: 0,
        gid: 0,
      }),
    ];
    await assert.rejects(reportOf(helper, fixture, steps), {
      message: /^make device \/dev\/zero: mknodat: EEXIST \(step \d+ of \d+\)$/,
    });
  });

  it("binds from the host, a descriptor and the rootfs with their attributes", async () => {
    mkdirSync(fixture.path("inner"));
    writeFileSync(fixture.path("inner", "file"), "inner");
    mkdirSync(`${fixture.directory}/host`);
    writeFileSync(`${fixture.directory}/host/file`, "from host");
    const detached = createMount("tmpfs", [["size", "64k"]]);
    const tree = {
      op: "mountTree",
      recursive: true,
      clear: 0,
      recursiveAttributes: true,
      propagation: 0,
      create: "auto",
    } as const;
    const report = await reportOf(
      helper,
      fixture,
      [
        ...fixture.inRootfs(),
        {
          ...tree,
          source: { hostPath: `${fixture.directory}/host` },
          set: MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID,
          target: "/mnt/host",
        },
        { ...tree, source: { hostPath: `${fixture.directory}/host/file` }, set: 0, target: "/mnt/file" },
        { ...tree, source: { fd: detached }, set: MOUNT_ATTR_NODEV, target: "/mnt/fd" },
        { ...tree, source: { fd: detached }, set: MOUNT_ATTR_RDONLY, target: "/mnt/fd-again" },
        { ...tree, source: { rootPath: "/inner" }, set: 0, target: "/mnt/inner" },
        pivot,
      ],
      "/mnt/host",
      "/mnt/host/file",
      "/mnt/file",
      "/mnt/fd",
      "/mnt/fd-again",
      "/mnt/inner/file",
    );
    close(detached);
    const { paths, mounts } = report;
    assert.equal(paths["/mnt/host/file"]?.content, "from host");
    assert.equal(paths["/mnt/file"]?.content, "from host");
    assert.equal(paths["/mnt/inner/file"]?.content, "inner");
    assert.deepEqual(
      ["/mnt/host", "/mnt/fd", "/mnt/fd-again"].map((path) => paths[path]?.writable),
      [false, true, false],
    );
    assert.match(mounts!, /\/mnt\/host ro,nosuid,/);
    assert.match(mounts!, /\/mnt\/fd rw,nodev,/);
    assert.doesNotMatch(mounts!, /cricket-launch.*container/, "the host's mounts are gone");
  });

  it("setMountAttributes changes the rootfs and mounts in it", async () => {
    const report = await reportOf(
      helper,
      fixture,
      [
        ...fixture.inRootfs(),
        {
          op: "setMountAttributes",
          target: "/dev",
          set: MOUNT_ATTR_NOSUID,
          clear: 0,
          propagation: 0,
          recursive: false,
        },
        {
          op: "setMountAttributes",
          target: "",
          set: MOUNT_ATTR_RDONLY,
          clear: 0,
          propagation: 0,
          recursive: false,
        },
        pivot,
      ],
      "/tmp",
      "/dev",
    );
    assert.equal(report.paths["/tmp"]?.writable, false);
    assert.equal(report.paths["/dev"]?.writable, true);
    assert.match(report.mounts!, /\/dev rw,nosuid/);
  });

  it("masks directories and files, makes paths read-only, skips what is missing", async () => {
    for (const name of ["one", "two"]) {
      mkdirSync(fixture.path(name));
      writeFileSync(fixture.path(name, "secret"), "secret");
    }
    writeFileSync(fixture.path("file"), "secret");
    const report = await reportOf(
      helper,
      fixture,
      [
        ...fixture.inRootfs(),
        ...["/one", "/two", "/file", "/proc/version", "/nothing", "/file/below"].map((path): Step => ({
          op: "maskPath",
          path,
        })),
        ...["/tmp", "/proc/sys", "/missing"].map((path): Step => ({ op: "readonlyPath", path })),
        pivot,
      ],
      "/one",
      "/one/secret",
      "/two/secret",
      "/file",
      "/proc/version",
      "/tmp",
      "/proc/sys/kernel/hostname",
    );
    const { paths } = report;
    assert.deepEqual([paths["/one/secret"]?.error, paths["/two/secret"]?.error], ["ENOENT", "ENOENT"]);
    assert.equal(paths["/one"]?.writable, false);
    assert.deepEqual([paths["/file"]?.device, paths["/file"]?.content], ["1:3", ""]);
    assert.equal(paths["/proc/version"]?.device, "1:3");
    assert.deepEqual([paths["/tmp"]?.writable, paths["/proc/sys/kernel/hostname"]?.writable], [false, false]);
  });
});

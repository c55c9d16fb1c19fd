// Each kind of step, as the probe sees its effect from inside.
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { after, before, beforeEach, afterEach, describe, it } from "node:test";
import { createMount } from "../../../src/linux/mount.ts";
import { close, makedev } from "../../../src/linux/files.ts";
import type { HelperBinary } from "../../../src/linux/helper-binary.ts";
import { CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, type Step } from "../../../src/linux/launch-program.ts";
import { startMonitor } from "../../../src/linux/start-monitor.ts";
import { runExec } from "../../../src/linux/run-exec.ts";
import { LaunchFixture, loadHelper, probe, reportOf } from "../../support/launch-fixture.ts";
import { requires } from "../../support/requires.ts";

const MOUNT_ATTR_RDONLY = 1;
const MOUNT_ATTR_NOSUID = 2;
const MOUNT_ATTR_NODEV = 4;
const CAP_CHOWN = 1n << 0n;
const CAP_KILL = 1n << 5n;
const CAP_NET_BIND_SERVICE = 1n << 10n;

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

  const inRootfs = (...steps: Step[]): Step[] => [
    ...fixture.enterRootfs(),
    fixture.mountProc(),
    ...fixture.mountDev(),
    ...steps,
  ];
  const pivot: Step = { op: "pivotRoot" };

  it("gives namespaces, a session and process 1", async () => {
    const report = await reportOf(helper, fixture, [...inRootfs(), pivot]);
    assert.deepEqual([report.pid, report.ppid, report.session], [1, 0, 1]);
    assert.deepEqual(report.env, []);
    assert.deepEqual(report.argv, ["/probe", "report"]);
  });

  it("leaves the container nothing but stdio", async () => {
    const report = await reportOf(helper, fixture, [...inRootfs(), pivot]);
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
    const report = await reportOf(helper, fixture, [...inRootfs(), pivot], "/dev/null");
    assert.equal(report.descriptors[0]?.filesystem, report.paths["/dev/null"]?.filesystem);
  });

  it("resets signals and umask whatever the daemon had", async () => {
    const report = await reportOf(helper, fixture, [...inRootfs(), pivot]);
    assert.deepEqual(report.ignoredSignals, []);
    assert.deepEqual(report.blockedSignals, []);
    assert.equal(report.umask, "22");
  });

  it("sets names, umask, limits, priorities and the working directory", async () => {
    const report = await reportOf(helper, fixture, [
      ...inRootfs(),
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
        ...inRootfs({ op: "writeProc", path: "/proc/sys/kernel/shmmni", value: "1234" }),
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
        ...inRootfs(),
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
      ...inRootfs({
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
        ...inRootfs(),
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
        ...inRootfs(),
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
        ...inRootfs(),
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

  it("becomes a user with groups, capabilities and no_new_privs", async () => {
    const masks = {
      bounding: CAP_CHOWN | CAP_KILL | CAP_NET_BIND_SERVICE,
      effective: CAP_KILL,
      permitted: CAP_KILL | CAP_CHOWN,
      inheritable: 0n,
      ambient: 0n,
    };
    const report = await reportOf(helper, fixture, [
      ...inRootfs(pivot),
      { op: "setGroups", groups: [10, 20] },
      { op: "setIds", uid: 1000, gid: 1001 },
      { op: "capabilities", masks },
      { op: "noNewPrivs" },
    ]);
    assert.deepEqual(report.uids, [1000, 1000, 1000]);
    assert.deepEqual(report.gids, [1001, 1001, 1001]);
    assert.deepEqual(report.groups, [10, 20]);
    assert.equal(report.noNewPrivs, 1);
    // execve as another user than root empties what is not ambient.
    assert.deepEqual(report.capabilities, {
      effective: "0",
      permitted: "0",
      inheritable: "0",
      bounding: "421",
      ambient: "0",
    });
    const owners = report.descriptors.map(({ fd, uid }) => [fd, uid]);
    assert.deepEqual(owners.slice(1), [
      [1, 1000],
      [2, 1000],
    ]);
  });

  it("gives root the capabilities of its bounding set, and others their ambient ones", async () => {
    const set = CAP_KILL | CAP_CHOWN;
    const masks = { bounding: set, effective: set, permitted: set, inheritable: 0n, ambient: 0n };
    const asRoot = await reportOf(helper, fixture, [...inRootfs(pivot), { op: "capabilities", masks }]);
    assert.equal(asRoot.capabilities.effective, "21");
    const other = new LaunchFixture();
    try {
      const ambient = { ...masks, inheritable: CAP_KILL, ambient: CAP_KILL };
      const steps: Step[] = [
        ...other.enterRootfs(),
        other.mountProc(),
        pivot,
        { op: "setIds", uid: 5, gid: 5 },
        { op: "capabilities", masks: ambient },
      ];
      assert.equal((await reportOf(helper, other, steps)).capabilities.effective, "20");
    } finally {
      other.dispose();
    }
  });

  it("leaves out capabilities the runtime lacks", async () => {
    const all = (1n << 41n) - 1n;
    const masks = { bounding: all, effective: all, permitted: all, inheritable: 0n, ambient: 0n };
    const report = await reportOf(helper, fixture, [...inRootfs(pivot), { op: "capabilities", masks }]);
    const own = /^CapBnd:\s+(\w+)/m.exec(readFileSync("/proc/self/status", "utf8"))![1]!;
    assert.equal(BigInt(`0x${report.capabilities.effective}`), BigInt(`0x${own}`));
  });

  it("installs a seccomp filter", async () => {
    // ld nr; jeq uname -> errno 95; allow
    const filter = Buffer.alloc(32);
    const uname = process.arch === "arm64" ? 160 : 63;
    const instructions = [
      [0x20, 0, 0, 0],
      [0x15, 0, 1, uname],
      [0x06, 0, 0, 0x0005005f],
      [0x06, 0, 0, 0x7fff0000],
    ] as const;
    instructions.forEach(([code, jt, jf, k], index) => {
      filter.writeUInt16LE(code, 8 * index);
      filter.writeUInt8(jt, 8 * index + 2);
      filter.writeUInt8(jf, 8 * index + 3);
      filter.writeUInt32LE(k, 8 * index + 4);
    });
    const report = await reportOf(helper, fixture, [
      ...inRootfs(pivot, { op: "noNewPrivs" }),
      { op: "seccomp", filter, flags: 0 },
    ]);
    assert.match(report.status!, /^Seccomp:\t2$/m);
    assert.notEqual(report.hostname, readFileSync("/proc/sys/kernel/hostname", "utf8").trim());
  });

  it("maps ids of a user namespace before its child does anything", requires("user-namespaces"), async () => {
    const map = "0 100000 1000\n";
    // Mapped ids have to get to where the rootfs is attached.
    chmodSync(fixture.directory, 0o755);
    const steps: Step[] = [
      {
        op: "fork",
        flags: CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID,
        idMaps: { uidMap: map, gidMap: map },
      },
      ...fixture.enterRootfs().slice(1),
      fixture.mountProc(),
      { op: "mkdirInRoot", path: "/proc/self/../nothing", mode: 0o755, uid: 0, gid: 0, optional: true },
      pivot,
    ];
    const report = await reportOf(helper, fixture, steps);
    assert.deepEqual(report.uids, [0, 0, 0]);
    assert.deepEqual(report.groups, []);
    // Its owners on the host: the rootfs belongs to ids that are not mapped.
    assert.equal(report.descriptors[1]?.uid, 65534);
  });

  it("passes what a second fork made on to the monitor", async () => {
    const [fork, ...rest] = fixture.enterRootfs();
    const report = await reportOf(helper, fixture, [
      { op: "fork", flags: 0 },
      { op: "rlimit", resource: 7, soft: 50n, hard: 60n },
      fork!,
      ...rest,
      fixture.mountProc(),
      pivot,
    ]);
    assert.equal(report.pid, 1);
    assert.deepEqual(report.limits[7], ["50", "60"]);
  });

  it("reports failures of optional steps as warnings", async () => {
    const report = await reportOf(helper, fixture, [
      ...inRootfs(),
      { op: "writeProc", path: "/proc/self/oom_score_adj", value: "5000", optional: true },
      pivot,
    ]);
    assert.equal(report.warnings.length, 1);
    assert.match(
      report.warnings[0]!,
      /^write \/proc\/self\/oom_score_adj: write: EINVAL \(step \d+ of \d+\)$/,
    );
  });

  it("comes as near to a hard limit as it may, with a warning", async () => {
    const limits = readFileSync("/proc/self/limits", "utf8");
    const hard = /^Max open files\s+\d+\s+(\d+)/m.exec(limits)![1]!;
    const report = await reportOf(helper, fixture, [
      ...inRootfs(),
      { op: "rlimit", resource: 7, soft: 1_000_000n, hard: 1_000_000n, optional: true },
      pivot,
    ]);
    const wasRaised = report.warnings.length === 0;
    assert.deepEqual(report.limits[7], wasRaised ? ["1000000", "1000000"] : [hard, hard]);
  });

  it("names the step, the call and the errno of a failure and leaves no process", async () => {
    const steps: Step[] = [
      ...fixture.enterRootfs(),
      {
        op: "mountFs",
        type: "tmpfs",
        options: [["size", "junk"]],
        attributes: 0,
        target: "/tmp",
        create: "never",
      },
      pivot,
      { op: "waitGate" },
      probe("exit", "0"),
    ];
    const { containerDir } = fixture;
    await assert.rejects(startMonitor(helper, { steps }, { containerDir }), {
      name: "LaunchError",
      errno: "EINVAL",
      step: "mountFs",
      message: /^mount tmpfs on \/tmp: fsconfig size: tmpfs: Bad value for 'size': EINVAL \(step 5 of 8\)$/,
    });
    assert.throws(() => readlinkSync(`${containerDir}/monitor.sock`), { code: "ENOENT" });
  });

  it("searches PATH for a name without a slash", async () => {
    const run = (argv: string[], env: string[]): Promise<{ exitCode: number }> => {
      const exec: Step = { op: "exec", argv, env: env.map((text) => Buffer.from(text)) };
      return runExec(helper, { steps: [{ op: "fork", flags: 0 }, exec] });
    };
    assert.equal((await run(["true"], ["PATH=/nonexistent:/etc/passwd:/usr/bin"])).exitCode, 0);
    await assert.rejects(run(["true"], ["PATH=/nonexistent"]), { errno: "ENOENT" });
    await assert.rejects(run(["passwd"], ["PATH=/etc"]), { errno: "EACCES" });
    await assert.rejects(run(["/etc"], []), {
      errno: "EACCES",
      message: "exec /etc: execve: EACCES (step 2 of 2)",
    });
  });
});

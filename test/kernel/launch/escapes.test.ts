// One test per published escape that concerns the executor, built as its exploit would be: the image is hostile.
import assert from "node:assert/strict";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { after, before, beforeEach, afterEach, describe, it } from "node:test";
import { makedev } from "../../../src/linux/files.ts";
import type { HelperBinary } from "../../../src/linux/helper-binary.ts";
import type { Step } from "../../../src/linux/launch-program.ts";
import { runExec } from "../../../src/linux/run-exec.ts";
import { startMonitor } from "../../../src/linux/start-monitor.ts";
import { LaunchFixture, loadHelper, probe, reportOf } from "../../support/launch-fixture.ts";
import { requires } from "../../support/requires.ts";

describe("escapes from a container while it is launched", requires("root"), () => {
  let helper: HelperBinary;
  let fixture: LaunchFixture;
  let outside: string;
  before(() => {
    helper = loadHelper();
  });
  after(() => helper.close());
  beforeEach(() => {
    fixture = new LaunchFixture();
    outside = `${fixture.directory}/outside`;
    mkdirSync(outside);
  });
  afterEach(() => fixture.dispose());

  const pivot: Step = { op: "pivotRoot" };
  const report = (steps: Step[], ...paths: string[]): ReturnType<typeof reportOf> =>
    reportOf(helper, fixture, [...fixture.enterRootfs(), ...steps], ...paths);
  const bind = (hostPath: string, target: string): Step => ({
    op: "mountTree",
    source: { hostPath },
    recursive: false,
    set: 0,
    clear: 0,
    recursiveAttributes: false,
    propagation: 0,
    target,
    create: "auto",
  });

  it("CVE-2019-5736: the program that enters a container cannot be written through /proc", async () => {
    const steps: Step[] = [...fixture.enterRootfs(), pivot, { op: "waitGate" }, probe("exit", "0")];
    const monitor = await startMonitor(helper, { steps }, { containerDir: fixture.containerDir });
    const exe = `/proc/${monitor.initPid}/exe`;
    assert.match(readlinkSync(exe), /^\/memfd:cricket-init/);
    assert.throws(() => openSync(exe, "r+"), { code: "ETXTBSY" });
    await monitor.start();
    await monitor.onExit;
    // Not even the daemon, once no process runs it.
    assert.throws(() => writeSync(helper.initFd, "x", 0), { code: "EPERM" });
    assert.throws(() => writeSync(helper.pauseFd, "x", 0), { code: "EPERM" });
  });

  it("CVE-2016-9962: a process of the container can neither trace the helper nor see its descriptors", async () => {
    const steps: Step[] = [
      ...fixture.enterRootfs(),
      pivot,
      { op: "setIds", uid: 1000, gid: 1000 },
      { op: "waitGate" },
      probe("exit", "0"),
    ];
    const monitor = await startMonitor(helper, { steps }, { containerDir: fixture.containerDir });
    // /proc/<pid> of a process that is not dumpable belongs to root (proc(5)), whoever it runs as.
    assert.equal(statSync(`/proc/${monitor.initPid}/fd`).uid, 0);
    assert.match(readFileSync(`/proc/${monitor.initPid}/status`, "utf8"), /^Uid:\t1000/m);
    assert.deepEqual(readdirSync(`/proc/${monitor.initPid}/fd`).length, 4);
    await monitor.start();
    await monitor.onExit;
  });

  it("CVE-2021-30465: mount targets that are links stay in the root", async () => {
    writeFileSync(`${outside}/target`, "host");
    writeFileSync(`${fixture.directory}/source`, "source");
    symlinkSync(`/../../../..${outside}`, fixture.path("escape"));
    symlinkSync("../../../../../../../..", fixture.path("up"));
    const seen = await report(
      [
        bind(`${fixture.directory}/source`, "/escape/target"),
        bind(`${fixture.directory}/source`, `/up/up/new`),
        pivot,
      ],
      `${outside}/target`,
      "/new",
    );
    assert.equal(seen.paths[`${outside}/target`]?.content, "source");
    assert.equal(seen.paths["/new"]?.content, "source");
    assert.equal(readFileSync(`${outside}/target`, "utf8"), "host");
    assert.equal(existsSync(`${outside}/new`), false);
  });

  it("CVE-2024-45310, CVE-2026-41579: nothing is made outside of the root, whatever links say", async () => {
    rmSync(fixture.path("dev"), { recursive: true });
    symlinkSync(outside, fixture.path("dev"));
    symlinkSync(`../../../../../..${outside}/deep`, fixture.path("dangling"));
    symlinkSync("loop", fixture.path("loop"));
    const seen = await report(
      [
        { op: "mkdirInRoot", path: "/dangling/a/b", mode: 0o700, uid: 0, gid: 0 },
        { op: "mknodInRoot", path: "/dev/null", mode: 0o20666, device: makedev(1, 3), uid: 0, gid: 0 },
        { op: "symlinkInRoot", linkTarget: "x", path: "/dev/link" },
        { op: "chdir", path: "/dangling/work", create: true },
        { op: "mkdirInRoot", path: "/loop/x", mode: 0o700, uid: 0, gid: 0, optional: true },
        pivot,
      ],
      `${outside}/deep/a/b`,
      `${outside}/null`,
      `${outside}/deep/work`,
    );
    assert.deepEqual(readdirSync(outside), []);
    assert.equal(seen.paths[`${outside}/deep/a/b`]?.mode, "700");
    assert.equal(seen.paths[`${outside}/null`]?.device, "1:3");
    assert.match(seen.warnings[0]!, /ELOOP/);
  });

  it("CVE-2024-21626: a working directory cannot be a descriptor that was left open", async () => {
    const host = openSync("/", "r");
    try {
      symlinkSync("/proc/self/fd", fixture.path("fds"));
      for (let fd = 3; fd < 12; fd++) {
        for (const path of [
          `/proc/self/fd/${fd}`,
          `/fds/${fd}`,
          `/proc/self/fd/${fd}/../..`,
          "/proc/self/cwd",
        ]) {
          const steps: Step[] = [
            ...fixture.enterRootfs(),
            fixture.mountProc(),
            // Puts the descriptor into the helper's table.
            { op: "joinCgroup", files: [host], optional: true },
            pivot,
            { op: "chdir", path, create: false },
            { op: "exec", argv: ["/probe", "exit", "0"], env: [] },
          ];
          await assert.rejects(runExec(helper, { steps }), { step: "chdir" }, path);
          fixture.renew();
        }
      }
    } finally {
      closeSync(host);
    }
  });

  it("CVE-2025-31133: a /dev/null of the image's making masks nothing", async () => {
    writeFileSync(fixture.path("secret"), "secret");
    mkdirSync(fixture.path("attack"));
    for (const make of [
      (): void => symlinkSync("/attack", fixture.path("dev", "null")),
      (): void => writeFileSync(fixture.path("dev", "null"), ""),
    ]) {
      make();
      await assert.rejects(report([fixture.mountProc(), pivot, { op: "maskPath", path: "/secret" }]), {
        message: /^mask \/secret: \/dev\/null is not device 1:3: ENODEV/,
      });
      fixture.renew();
      writeFileSync(fixture.path("secret"), "secret");
    }
    symlinkSync("/attack", fixture.path("dev", "null"));
    const seen = await report([{ op: "maskPath", path: "/secret" }, pivot], "/secret");
    assert.equal(seen.paths["/secret"]?.device, "1:3", "the host's is used before pivotRoot");
  });

  it("CVE-2025-52565: a terminal comes from a real devpts or not at all", async () => {
    const pty: Step = { op: "openPty", rows: 24, columns: 80, bindConsole: true };
    const attempt = (steps: Step[]): Promise<unknown> => report([fixture.mountProc(), ...steps, pty, pivot]);
    mkdirSync(fixture.path("dev", "pts"));
    symlinkSync("/dev/tty", fixture.path("dev", "pts", "ptmx"));
    await assert.rejects(attempt([]), { step: "openPty", errno: "ENODEV" });
    fixture.renew();
    // The right device, but not of a devpts of the container's own.
    await assert.rejects(
      attempt([
        { op: "mknodInRoot", path: "/dev/pts/ptmx", mode: 0o20666, device: makedev(5, 2), uid: 0, gid: 0 },
      ]),
      { step: "openPty", errno: "ENODEV" },
    );
    fixture.renew();
    const console: Step = { op: "symlinkInRoot", linkTarget: "/proc/sysrq-trigger", path: "/dev/console" };
    await assert.rejects(attempt([...fixture.mountDev(), console]), { step: "openPty", errno: "ELOOP" });
  });

  it("CVE-2019-16884, CVE-2025-52881: what is written below /proc goes to the kernel's /proc alone", async () => {
    // A false /proc in the image, mounted over the place where the container's would be.
    mkdirSync(fixture.path("proc", "self"));
    writeFileSync(fixture.path("proc", "self", "oom_score_adj"), "false");
    const seen = await report(
      [
        { op: "writeProc", path: "/proc/self/oom_score_adj", value: "321" },
        fixture.mountProc(),
        pivot,
        { op: "writeProc", path: "/proc/self/oom_score_adj", value: "322" },
      ],
      "/proc/self/oom_score_adj",
    );
    assert.equal(seen.oomScoreAdj, "322\n");
    for (const path of [
      "/proc/../etc/passwd",
      "/proc/self/root/etc/passwd",
      "/proc/self/cwd/x",
      "/etc/passwd",
    ]) {
      fixture.renew();
      await assert.rejects(
        report([{ op: "writeProc", path, value: "x" }, pivot]),
        { step: "writeProc" },
        path,
      );
    }
  });

  it("CVE-2019-19921, CVE-2023-27561: procfs and sysfs go where they belong", async () => {
    rmSync(fixture.path("proc"), { recursive: true });
    mkdirSync(fixture.path("elsewhere"));
    symlinkSync("/elsewhere", fixture.path("proc"));
    await assert.rejects(report([fixture.mountProc(), pivot]), {
      errno: "ELOOP",
      message: /^mount proc on \/proc: open target: ELOOP/,
    });
  });

  it("CVE-2019-19921: nothing is mounted over a part of /proc, but what lxcfs replaces", async () => {
    writeFileSync(`${fixture.directory}/fake`, "fake");
    const file = `${fixture.directory}/fake`;
    const allowed = await report([fixture.mountProc(), bind(file, "/proc/cpuinfo"), pivot], "/proc/cpuinfo");
    assert.equal(allowed.paths["/proc/cpuinfo"]?.content, "fake");
    for (const target of [
      "/proc/self/attr/exec",
      "/proc/sys/kernel/hostname",
      "/link/version",
      "/proc/version",
    ]) {
      fixture.renew();
      symlinkSync("proc", fixture.path("link"));
      await assert.rejects(
        report([fixture.mountProc(), bind(file, target), pivot]),
        { errno: "EPERM", message: /target inside of \/proc: EPERM/ },
        target,
      );
    }
    fixture.renew();
    await assert.rejects(report([fixture.mountProc(), bind(outside, "/proc"), pivot]), { errno: "EPERM" });
  });

  it("CVE-2022-29162: inheritable capabilities stay empty", async () => {
    const all = (1n << 41n) - 1n;
    const masks = { bounding: all, effective: all, permitted: all, inheritable: 0n, ambient: all };
    const seen = await report([fixture.mountProc(), pivot, { op: "capabilities", masks }]);
    assert.deepEqual([seen.capabilities.inheritable, seen.capabilities.ambient], ["0", "0"]);
  });
});

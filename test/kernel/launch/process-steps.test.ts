// Steps that change the process itself, forks, and how failures are told.
import assert from "node:assert/strict";
import { chmodSync, readFileSync, readlinkSync } from "node:fs";
import { after, before, beforeEach, afterEach, describe, it } from "node:test";
import type { HelperBinary } from "../../../src/linux/helper-binary.ts";
import { CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, type Step } from "../../../src/linux/launch-program.ts";
import { startMonitor } from "../../../src/linux/start-monitor.ts";
import { runExec } from "../../../src/linux/run-exec.ts";
import { LaunchFixture, loadHelper, probe, reportOf } from "../../support/launch-fixture.ts";
import { requires } from "../../support/requires.ts";

const CAP_CHOWN = 1n << 0n;
const CAP_KILL = 1n << 5n;
const CAP_NET_BIND_SERVICE = 1n << 10n;

describe("launch steps of the process", requires("root"), () => {
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

  it("becomes a user with groups, capabilities and no_new_privs", async () => {
    const masks = {
      bounding: CAP_CHOWN | CAP_KILL | CAP_NET_BIND_SERVICE,
      effective: CAP_KILL,
      permitted: CAP_KILL | CAP_CHOWN,
      inheritable: 0n,
      ambient: 0n,
    };
    const report = await reportOf(helper, fixture, [
      ...fixture.inRootfs(pivot),
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
    const asRoot = await reportOf(helper, fixture, [
      ...fixture.inRootfs(pivot),
      { op: "capabilities", masks },
    ]);
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
    const report = await reportOf(helper, fixture, [
      ...fixture.inRootfs(pivot),
      { op: "capabilities", masks },
    ]);
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
      ...fixture.inRootfs(pivot, { op: "noNewPrivs" }),
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
      ...fixture.inRootfs(),
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
      ...fixture.inRootfs(),
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

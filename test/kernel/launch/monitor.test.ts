// The monitor: log, gate, exit file, reconnecting, failures, hostile clients.
import assert from "node:assert/strict";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { after, before, beforeEach, afterEach, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import { connectMonitorSocket } from "../../../src/linux/connect-monitor-socket.ts";
import { MNT_DETACH, attachMount, createMount, umount } from "../../../src/linux/mount.ts";
import { readExitFile } from "../../../src/linux/exit-file.ts";
import { close } from "../../../src/linux/files.ts";
import { frameType } from "../../../src/linux/frames.ts";
import { encodeFrame } from "../../support/encode-frame.ts";
import type { HelperBinary } from "../../../src/linux/helper-binary.ts";
import { CLONE_NEWPID, type LaunchProgram, type Step } from "../../../src/linux/launch-program.ts";
import type { Monitor } from "../../../src/linux/monitor.ts";
import { openPidfd, readStartTime, signalPidfd } from "../../../src/linux/pidfd.ts";
import { startMonitor, type MonitorOptions } from "../../../src/linux/start-monitor.ts";
import { LaunchFixture, loadHelper, probe, readLog } from "../../support/launch-fixture.ts";
import { requires } from "../../support/requires.ts";
import { until } from "../../support/until.ts";
import { isAlive, tryRead } from "../../support/processes.ts";

const SIGKILL = 9;

/** Settles when the other side has closed; a reset, which unread bytes cause, is as good. */
function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.on("error", () => {});
    socket.once("close", () => resolve());
    socket.resume();
  });
}

describe("monitor", requires("root"), () => {
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

  const programOf = (...words: string[]): LaunchProgram => ({
    steps: [
      ...fixture.enterRootfs(),
      fixture.mountProc(),
      ...fixture.mountDev(),
      { op: "pivotRoot" },
      { op: "parentDeathSignal", signal: SIGKILL },
      { op: "waitGate" },
      probe(...words),
    ],
  });
  const create = (words: string[], options: Partial<MonitorOptions> = {}): Promise<Monitor> => {
    const { containerDir, logPath } = fixture;
    return startMonitor(helper, programOf(...words), { containerDir, logPath, ...options });
  };
  const run = async (words: string[], options: Partial<MonitorOptions> = {}): Promise<Monitor> => {
    const monitor = await create(words, options);
    await monitor.start();
    return monitor;
  };
  const kill = (monitor: Monitor): void => {
    const pidfd = openPidfd(monitor.initPid);
    signalPidfd(pidfd, SIGKILL);
    close(pidfd);
  };
  const parentOf = (pid: number): number =>
    Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]);

  it("waits at the gate with the container's identity, then runs it", async () => {
    const monitor = await create(["print", "1", "hello\n"]);
    assert.equal(monitor.started, false);
    assert.equal(readStartTime(monitor.initPid), monitor.initStartTime);
    assert.equal(fixture.log(), "");
    const before = BigInt(Date.now()) * 1_000_000n - 1_000_000n;
    await monitor.start();
    assert.equal(monitor.started, true);
    const exit = await monitor.onExit;
    assert.deepEqual([exit.exitCode, exit.signal, exit.oomKills], [0, 0, 0n]);
    assert.ok(exit.finishedAtNs >= before);
    assert.match(fixture.log(), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z stdout F hello\n$/);
  });

  it("holds no descriptor and no memory of the launch at the gate", async () => {
    const monitor = await create(["sleep", "100"]);
    const open = readdirSync(`/proc/${monitor.initPid}/fd`).map(Number);
    assert.deepEqual(
      open.toSorted((a, b) => a - b),
      [0, 1, 2, 3],
    );
    const pss = /^Pss:\s+(\d+)/m.exec(
      readFileSync(`/proc/${parentOf(monitor.initPid)}/smaps_rollup`, "utf8"),
    );
    assert.ok(Number(pss![1]) < 200, `monitor has ${pss![1]} KiB`);
    kill(monitor);
    assert.equal((await monitor.onExit).exitCode, 137);
  });

  it("writes a date the C way and the JavaScript way alike", async () => {
    const monitor = await run(["print", "1", "x\n"]);
    await monitor.onExit;
    const logged = Date.parse(fixture.log().split(" ")[0]!);
    assert.ok(Math.abs(Date.now() - logged) < 60_000);
  });

  it("reports exit code and signal, in memory and in the exit file", async () => {
    const exited = await run(["exit", "7"]);
    assert.deepEqual(await exited.onExit, readExitFile(fixture.containerDir));
    assert.equal((await exited.onExit).exitCode, 7);
    fixture.renew();
    const killed = await run(["sleep", "100"]);
    kill(killed);
    const { exitCode, signal } = await killed.onExit;
    assert.deepEqual([exitCode, signal], [137, SIGKILL]);
    assert.equal(readFileSync(join(fixture.containerDir, "exit"), "utf8").split("\n").length, 2);
    assert.equal(statSync(join(fixture.containerDir, "exit")).mode & 0o777, 0o600);
  });

  it("splits long lines, and tags P what no newline follows, also at the end", async () => {
    const monitor = await run(["print", "1", `${"a".repeat(25)}\n`, "b".repeat(10), "\n", "c".repeat(12)], {
      maxLogLineBytes: 10,
    });
    await monitor.onExit;
    const lines = fixture.log().split("\n").slice(0, -1);
    assert.deepEqual(
      lines.map((line) => line.replace(/^\S+ /, "")),
      [
        `stdout P ${"a".repeat(10)}`,
        `stdout P ${"a".repeat(10)}`,
        `stdout F ${"a".repeat(5)}`,
        `stdout F ${"b".repeat(10)}`,
        `stdout P ${"c".repeat(10)}`,
        `stdout P ${"c".repeat(2)}`,
      ],
    );
  });

  it("keeps every byte of both streams", async () => {
    const out = await run(["lines", "1", "5000", "100"]);
    await out.onExit;
    assert.equal(readLog(fixture.log()).stdout, `${"x".repeat(100)}\n`.repeat(5000));
    rmSync(fixture.logPath);
    fixture.renew();
    const flood = await run(["flood", "2", "1000000"]);
    await flood.onExit;
    assert.equal(readLog(fixture.log()).stderr, "y".repeat(1_000_000));
    assert.equal(statSync(fixture.logPath).mode & 0o777, 0o640);
  });

  it("reopenLog() goes on in a new file, without losing or splitting a line", async () => {
    const monitor = await run(["signals"]);
    await until("first line", () => fixture.log().includes("ready"));
    renameSync(fixture.logPath, `${fixture.logPath}.1`);
    await monitor.reopenLog();
    const pidfd = openPidfd(monitor.initPid);
    signalPidfd(pidfd, 10);
    await until("line in the new file", () => fixture.log().includes("signal 10"));
    signalPidfd(pidfd, 3);
    close(pidfd);
    await monitor.onExit;
    assert.match(readFileSync(`${fixture.logPath}.1`, "utf8"), /^\S+ stdout F ready\n$/);
  });

  it("reopenLog() that fails keeps the old file and says why", async () => {
    const logs = join(fixture.directory, "logs");
    mkdirSync(logs);
    const monitor = await run(["signals"], { logPath: join(logs, "0.log") });
    await until("first line", () => tryRead(join(logs, "0.log")).includes("ready"));
    renameSync(logs, `${logs}.moved`);
    await assert.rejects(monitor.reopenLog(), { errno: "ENOENT" });
    mkdirSync(logs);
    symlinkSync(join(fixture.directory, "elsewhere"), join(logs, "0.log"));
    await assert.rejects(monitor.reopenLog(), { errno: "ELOOP" });
    assert.equal(existsSync(join(fixture.directory, "elsewhere")), false);
    kill(monitor);
    await monitor.onExit;
    assert.match(readFileSync(join(`${logs}.moved`, "0.log"), "utf8"), /ready/);
  });

  it("goes on when the log's disk is full", async () => {
    const logs = join(fixture.directory, "small");
    mkdirSync(logs);
    const disk = createMount("tmpfs", [["size", "64k"]]);
    attachMount(disk, logs);
    close(disk);
    try {
      const monitor = await run(["lines", "1", "5000", "100"], { logPath: join(logs, "0.log") });
      assert.equal((await monitor.onExit).exitCode, 0);
      const kept = readFileSync(join(logs, "0.log"), "utf8");
      assert.ok(kept.length > 60_000);
    } finally {
      umount(logs, MNT_DETACH);
    }
  });

  it("rejects the start with the errno of execve and ends", async () => {
    const program = programOf("exit", "0");
    program.steps[program.steps.length - 1] = { op: "exec", argv: ["/missing"], env: [] };
    const { containerDir } = fixture;
    const monitor = await startMonitor(helper, program, { containerDir });
    await assert.rejects(monitor.start(), {
      name: "LaunchError",
      errno: "ENOENT",
      message: /^exec \/missing: execve: ENOENT \(step (\d+) of \1\)$/,
    });
    assert.equal((await monitor.onExit).exitCode, 128);
  });

  it("refuses a second start, and one after the end", async () => {
    const monitor = await run(["sleep", "100"]);
    await assert.rejects(monitor.start(), { code: "failed-precondition" });
    kill(monitor);
    await monitor.onExit;
    await delay(20);
    await assert.rejects(monitor.start(), { code: "unavailable" });
  });

  it("leaves nothing when its options cannot be met", async () => {
    const logPath = join(fixture.directory, "no-such-directory", "0.log");
    await assert.rejects(create(["exit", "0"], { logPath }), {
      name: "LaunchError",
      message: "open the log: ENOENT",
    });
    assert.deepEqual(readdirSync(fixture.containerDir), []);
  });

  it("takes its container with it when it is killed (parentDeathSignal)", async () => {
    const monitor = await run(["sleep", "100"]);
    const pidfd = openPidfd(parentOf(monitor.initPid));
    signalPidfd(pidfd, SIGKILL);
    close(pidfd);
    const exit = await monitor.onExit;
    assert.deepEqual([exit.exitCode, exit.lost], [255, true]);
    await until("end of the container", () => !isAlive(monitor.initPid));
  });

  it("outlives the signals a shutdown sends to everything", async () => {
    const monitor = await run(["sleep", "100"]);
    const pidfd = openPidfd(parentOf(monitor.initPid));
    for (const signal of [1, 2, 3, 10, 13, 15]) signalPidfd(pidfd, signal);
    await monitor.reopenLog();
    assert.equal(signalPidfd(pidfd, 0), true);
    close(pidfd);
    kill(monitor);
    await monitor.onExit;
  });

  it("does not wait for a daemonised child that keeps stdout", async () => {
    const steps: Step[] = [
      { op: "fork", flags: 0 },
      ...fixture.enterRootfs(0x20000).slice(1, 2),
      { op: "waitGate" },
      { op: "exec", argv: [join(import.meta.dirname, "../../../build/probe"), "background", "3"], env: [] },
    ];
    const { containerDir, logPath } = fixture;
    const monitor = await startMonitor(helper, { steps }, { containerDir, logPath });
    const began = Date.now();
    await monitor.start();
    assert.equal((await monitor.onExit).exitCode, 5);
    assert.ok(Date.now() - began < 2_500, "ended with its process, not with the child");
    assert.match(fixture.log(), /parent ends/);
  });

  it("reaps the orphans of a shared pid namespace", async () => {
    const steps: Step[] = [
      { op: "fork", flags: CLONE_NEWPID },
      { op: "waitGate" },
      { op: "exec", argv: [join(import.meta.dirname, "../../../build/probe"), "tree", "3"], env: [] },
    ];
    const { containerDir, logPath } = fixture;
    const monitor = await startMonitor(helper, { steps }, { containerDir, logPath });
    await monitor.start();
    await until("tree", () => fixture.log().split("\n").length >= 4);
    kill(monitor);
    assert.equal((await monitor.onExit).signal, SIGKILL);
  });

  it("counts oom kills since the start, on either form of the file", async () => {
    const events = join(fixture.directory, "memory.events");
    for (const text of [
      "low 0\noom_kill 3\noom_group_kill 9\n",
      "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
    ]) {
      writeFileSync(events, text);
      const oomEvents = openSync(events, "r");
      const monitor = await create(["sleep", "100"], { oomEvents });
      close(oomEvents);
      await monitor.start();
      writeFileSync(events, text.replace("oom_kill 3", "oom_kill 5"));
      kill(monitor);
      assert.equal((await monitor.onExit).oomKills, 2n);
      fixture.renew();
    }
  });

  it("drops clients that do not speak frames, whatever they send", async () => {
    const monitor = await run(["sleep", "100"]);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 8, maxLength: 200 }), async (bytes) => {
        const socket = await connectMonitorSocket(fixture.containerDir);
        const closed = closeOf(socket);
        // A type no client may send: the rest must not matter.
        bytes[0] = 200;
        socket.end(bytes);
        await closed;
      }),
      { numRuns: 50 },
    );
    const oversized = encodeFrame(frameType.stdin);
    oversized.writeUInt32LE(0x7fffffff, 4);
    for (const frame of [
      oversized,
      encodeFrame(frameType.start, Buffer.alloc(4)),
      encodeFrame(frameType.kill),
    ]) {
      const socket = await connectMonitorSocket(fixture.containerDir);
      const closed = closeOf(socket);
      socket.write(frame);
      await closed;
    }
    await monitor.reopenLog();
    kill(monitor);
    await monitor.onExit;
  });

  it("takes sixty-four clients and turns the next one away", async () => {
    const monitor = await run(["sleep", "100"]);
    const sockets = [];
    for (let i = 0; i < 64; i++) {
      const socket = await connectMonitorSocket(fixture.containerDir);
      await once(socket, "data");
      sockets.push(socket);
    }
    await closeOf(await connectMonitorSocket(fixture.containerDir));
    for (const socket of sockets) socket.destroy();
    kill(monitor);
    await monitor.onExit;
  });

  it("is reached by root alone", async () => {
    const monitor = await create(["exit", "0"]);
    assert.equal(statSync(join(fixture.containerDir, "monitor.sock")).mode & 0o777, 0o600);
    kill(monitor);
    await monitor.onExit;
  });
});

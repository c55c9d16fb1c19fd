// Finding a monitor again after the daemon was gone.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, afterEach, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import { readExitFile } from "../../../src/linux/exit-file.ts";
import { attachMonitor } from "../../../src/linux/attach-monitor.ts";
import { connectMonitorSocket } from "../../../src/linux/connect-monitor-socket.ts";
import { close } from "../../../src/linux/files.ts";
import { encodeNumbers, frameType } from "../../../src/linux/frames.ts";
import type { HelperBinary } from "../../../src/linux/helper-binary.ts";
import { type LaunchProgram } from "../../../src/linux/launch-program.ts";
import type { Monitor } from "../../../src/linux/monitor.ts";
import { openPidfd, openSameProcess, signalPidfd } from "../../../src/linux/pidfd.ts";
import { connectMonitor, startMonitor, type MonitorOptions } from "../../../src/linux/start-monitor.ts";
import { encodeFrame } from "../../support/encode-frame.ts";
import { LaunchFixture, loadHelper, probe } from "../../support/launch-fixture.ts";
import { requires } from "../../support/requires.ts";
import { until } from "../../support/until.ts";
import { isAlive } from "../../support/processes.ts";

const SIGKILL = 9;
const SIGTERM = 15;

interface Misbehaviour {
  frames: Buffer[];
  sent: number;
  piece: number;
  isReader: boolean;
}

/** Resolves when the connection is closed, by this side at the latest. */
async function misbehave(
  containerDir: string,
  { frames, sent, piece, isReader }: Misbehaviour,
): Promise<void> {
  const socket = await connectMonitorSocket(containerDir);
  socket.on("error", () => {});
  const closed = new Promise((resolve) => socket.once("close", resolve));
  if (isReader) socket.resume();
  const bytes = Buffer.concat(frames);
  const end = Math.floor(bytes.length * sent);
  for (let at = 0; at < end; at += piece) socket.write(bytes.subarray(at, Math.min(at + piece, end)));
  await delay(5);
  socket.destroy();
  await closed;
}

describe("monitor connections", requires("root"), () => {
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

  it("connectMonitor() finds a running container again, with log, exit and identity", async () => {
    const first = await run(["sleep", "100"]);
    first.detach();
    const second = await connectMonitor(fixture.containerDir);
    assert.deepEqual([second.initPid, second.initStartTime], [first.initPid, first.initStartTime]);
    assert.equal(second.started, true);
    await second.reopenLog();
    kill(second);
    assert.equal((await second.onExit).exitCode, 137);
  });

  it("goes on whatever frames clients send, in whatever pieces, and however they leave", async () => {
    const monitor = await run(["sleep", "100"], { stdin: true });
    const { attach, stdin, stdinEof, resize, reopenLog, start } = frameType;
    const frame = fc.oneof(
      fc.nat(15).map((flags) => encodeFrame(attach, encodeNumbers(flags))),
      fc.nat(70_000).map((size) => encodeFrame(stdin, Buffer.alloc(Math.min(size, 65_536), "x"))),
      fc.tuple(fc.nat(), fc.nat()).map((sizes) => encodeFrame(resize, encodeNumbers(...sizes))),
      fc.constantFrom(stdinEof, reopenLog, start).map((type) => encodeFrame(type)),
    );
    const client = fc.record({
      frames: fc.array(frame, { maxLength: 12 }),
      // Of all bytes: what is not sent makes the last frame a torso.
      sent: fc.double({ min: 0, max: 1, noNaN: true }),
      piece: fc.integer({ min: 1, max: 9000 }),
      isReader: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(client, { minLength: 1, maxLength: 4 }), async (clients) => {
        await Promise.all(clients.map((one) => misbehave(fixture.containerDir, one)));
        await monitor.reopenLog();
      }),
      { numRuns: 40 },
    );
    const attachment = await attachMonitor(fixture.containerDir, { stdout: true });
    attachment.detach();
    kill(monitor);
    assert.equal((await monitor.onExit).exitCode, 137);
  });

  it("connectMonitor() finds a container at the gate and starts it", async () => {
    (await create(["exit", "3"])).detach();
    const monitor = await connectMonitor(fixture.containerDir);
    assert.equal(monitor.started, false);
    await monitor.start();
    assert.equal((await monitor.onExit).exitCode, 3);
  });

  it("connectMonitor() says not-found when the container has ended; the exit file tells how", async () => {
    const monitor = await run(["exit", "4"]);
    monitor.detach();
    await until("exit file", () => readExitFile(fixture.containerDir) !== undefined);
    await until("end", () => !existsSync(join(fixture.containerDir, "monitor.sock")));
    await assert.rejects(connectMonitor(fixture.containerDir), { code: "not-found" });
    assert.equal(readExitFile(fixture.containerDir)?.exitCode, 4);
  });

  it("works below a path longer than sun_path", async () => {
    const containerDir = join(fixture.directory, "d".repeat(200), "e".repeat(200));
    mkdirSync(containerDir, { recursive: true });
    const first = await create(["exit", "0"], { containerDir });
    first.detach();
    const monitor = await connectMonitor(containerDir);
    await monitor.start();
    await monitor.onExit;
  });

  it("survives the death of the daemon (kill -9)", async () => {
    const daemon = spawn(process.execPath, [
      "--import",
      "tsx",
      join(import.meta.dirname, "../../support/launch-and-wait.ts"),
      fixture.containerDir,
      fixture.logPath,
    ]);
    await once(daemon.stdout, "data");
    await until("container", () => fixture.log().includes("ready"));
    daemon.kill("SIGKILL");
    await once(daemon, "exit");
    const monitor = await connectMonitor(fixture.containerDir);
    assert.equal(isAlive(monitor.initPid), true);
    const pidfd = openSameProcess(monitor.initPid, monitor.initStartTime);
    assert.ok(pidfd !== undefined);
    signalPidfd(pidfd, SIGTERM);
    await until("signal in the log", () => fixture.log().includes("signal 15"));
    signalPidfd(pidfd, 3);
    close(pidfd);
    assert.equal((await monitor.onExit).exitCode, 0);
  });
});

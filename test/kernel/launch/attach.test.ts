// Attach clients of a running container: several at a time, slow ones, stdin once, terminals.
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import type { Readable } from "node:stream";
import { after, before, beforeEach, afterEach, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { attachMonitor } from "../../../src/linux/attach-monitor.ts";
import { connectMonitorSocket } from "../../../src/linux/connect-monitor-socket.ts";
import { close } from "../../../src/linux/files.ts";
import { encodeNumbers, frameType } from "../../../src/linux/frames.ts";
import { encodeFrame } from "../../support/encode-frame.ts";
import type { HelperBinary } from "../../../src/linux/helper-binary.ts";
import type { Step } from "../../../src/linux/launch-program.ts";
import type { Monitor } from "../../../src/linux/monitor.ts";
import { openPidfd, signalPidfd } from "../../../src/linux/pidfd.ts";
import { startMonitor, type MonitorOptions } from "../../../src/linux/start-monitor.ts";
import { LaunchFixture, loadHelper, probe, readLog } from "../../support/launch-fixture.ts";
import { requires } from "../../support/requires.ts";
import { until } from "../../support/until.ts";

const SIGKILL = 9;

async function textOf(stream: Readable): Promise<string> {
  let text = "";
  for await (const chunk of stream) text += String(chunk);
  return text;
}

describe("attach", requires("root"), () => {
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

  const create = (
    words: string[],
    options: Partial<MonitorOptions> = {},
    terminal: Step[] = [],
  ): Promise<Monitor> => {
    const { containerDir, logPath } = fixture;
    const steps: Step[] = [
      ...fixture.enterRootfs(),
      fixture.mountProc(),
      ...fixture.mountDev(),
      ...terminal,
      { op: "pivotRoot" },
      { op: "waitGate" },
      probe(...words),
    ];
    return startMonitor(helper, { steps }, { containerDir, logPath, ...options });
  };
  const kill = (monitor: Monitor): void => {
    const pidfd = openPidfd(monitor.initPid);
    signalPidfd(pidfd, SIGKILL);
    close(pidfd);
  };
  const output = { stdout: true, stderr: true };

  it("gives every client all output from its attachment on, and the log too", async () => {
    const monitor = await create(["lines", "1", "2000", "100"]);
    const clients = await Promise.all([1, 2, 3].map(() => attachMonitor(fixture.containerDir, output)));
    const texts = Promise.all(clients.map((client) => textOf(client.stdout)));
    await monitor.start();
    await monitor.onExit;
    const expected = `${"x".repeat(100)}\n`.repeat(2000);
    assert.deepEqual(await texts, [expected, expected, expected]);
    assert.equal(readLog(fixture.log()).stdout, expected);
    await Promise.all(clients.map((client) => client.closed));
  });

  it("keeps stdout and stderr apart", async () => {
    const monitor = await create(["print", "2", "error"]);
    const client = await attachMonitor(fixture.containerDir, output);
    const texts = Promise.all([textOf(client.stdout), textOf(client.stderr)]);
    await monitor.start();
    assert.deepEqual(await texts, ["", "error"]);
  });

  it("passes stdin on, whoever sends it, and keeps it open without stdin_once", async () => {
    const monitor = await create(["cat"], { stdin: true });
    await monitor.start();
    const first = await attachMonitor(fixture.containerDir, { stdin: true });
    first.stdin.end("first ");
    await delay(20);
    first.detach();
    const second = await attachMonitor(fixture.containerDir, { stdin: true });
    second.stdin.write("second\n");
    await until("second input", () => fixture.log().includes("first second"));
    second.detach();
    kill(monitor);
    await monitor.onExit;
  });

  it("closes stdin when the first client that attached to it leaves, with stdin_once", async () => {
    for (const leave of ["detach", "end"] as const) {
      const monitor = await create(["cat"], { stdin: true, stdinOnce: true });
      await monitor.start();
      const client = await attachMonitor(fixture.containerDir, { stdin: true });
      await new Promise<void>((resolve) => client.stdin.write(`${leave}\n`, () => resolve()));
      if (leave === "detach") client.detach();
      else client.stdin.end();
      assert.equal((await monitor.onExit).exitCode, 0);
      assert.match(fixture.log(), new RegExp(`${leave}\n.*end of input\n$`));
      fixture.renew();
    }
  });

  it("delivers a large stdin whole before a client that leaves at once counts as gone", async () => {
    const monitor = await create(["cat"], { stdin: true, stdinOnce: true });
    await monitor.start();
    const client = await attachMonitor(fixture.containerDir, { stdin: true, stdout: true });
    const echoed = textOf(client.stdout);
    client.stdin.end("z".repeat(1_000_000));
    await monitor.onExit;
    assert.equal((await echoed).length, 1_000_000 + "end of input\n".length);
  });

  it("gives a container without stdin /dev/null", async () => {
    const monitor = await create(["cat"]);
    await monitor.start();
    assert.equal((await monitor.onExit).exitCode, 0);
    assert.match(fixture.log(), /end of input/);
  });

  it("holds the container up for a slow client, then drops it", async () => {
    const monitor = await create(["flood", "1", "3000000"], { attachStallMs: 300 });
    const slow = await connectMonitorSocket(fixture.containerDir);
    slow.on("error", () => {});
    slow.write(encodeFrame(frameType.attach, encodeNumbers(6)));
    slow.pause();
    await delay(30);
    await monitor.start();
    const exit = await monitor.onExit;
    assert.equal(exit.exitCode, 0);
    assert.equal(readLog(fixture.log()).stdout.length, 3_000_000);
    slow.destroy();
  });

  it("waits for a slow client that asks for it, also after the container's end", async () => {
    const size = 3_000_000;
    const monitor = await create(["flood", "1", String(size)], { attachStallMs: 100 });
    const attachment = await attachMonitor(fixture.containerDir, { stdout: true, waits: true });
    await monitor.start();
    await once(attachment.stdout, "readable");
    // Several times as long as other clients have.
    await delay(500);
    assert.ok(existsSync(`/proc/${monitor.initPid}`), "the container was not held up");
    let taken = 0;
    for await (const chunk of attachment.stdout) {
      taken += (chunk as Buffer).length;
      // The end is near: the container has ended, and what is left is in the monitor.
      if (taken > size - 100_000 && taken < size - 90_000) await delay(300);
    }
    assert.equal(taken, size);
    assert.equal((await monitor.onExit).exitCode, 0);
  });

  it("is not held up by a client that died", async () => {
    const monitor = await create(["flood", "1", "3000000"], { attachStallMs: 60_000 });
    const client = await connectMonitorSocket(fixture.containerDir);
    client.write(encodeFrame(frameType.attach, encodeNumbers(6)));
    await delay(30);
    client.destroy();
    await monitor.start();
    assert.equal((await monitor.onExit).exitCode, 0);
  });

  it("refuses input of a client that did not attach to stdin", async () => {
    const monitor = await create(["cat"], { stdin: true });
    await monitor.start();
    const client = await connectMonitorSocket(fixture.containerDir);
    const closed = new Promise<void>((resolve) => {
      client.on("error", () => {});
      client.once("close", () => resolve());
      client.resume();
    });
    client.write(encodeFrame(frameType.stdin, Buffer.from("not mine\n")));
    await closed;
    kill(monitor);
    await monitor.onExit;
    assert.doesNotMatch(fixture.log(), /not mine/);
  });

  it("serves a terminal: size, resize, echo, one stream", async () => {
    const pty: Step = { op: "openPty", rows: 24, columns: 80, bindConsole: true };
    const monitor = await create(["winsize"], { stdin: true }, [pty]);
    assert.equal(monitor.tty, true);
    const client = await attachMonitor(fixture.containerDir, { stdin: true, ...output });
    assert.equal(client.tty, true);
    let text = "";
    client.stdout.on("data", (chunk: Buffer) => {
      text += String(chunk);
    });
    await monitor.start();
    await until("first size", () => text.includes("24 80\r\n"));
    await monitor.resize(10, 20);
    await until("second size", () => text.includes("10 20\r\n"));
    client.resize(11, 21);
    await until("third size", () => text.includes("11 21\r\n"));
    client.stdin.write("typed");
    await until("echo", () => text.includes("typed"));
    client.stdin.write("\x03");
    assert.equal((await monitor.onExit).exitCode, 130);
    assert.match(fixture.log(), /stdout F 24 80\r\n/);
  });

  it("has stdio on the terminal, which is /dev/console and controls the session", async () => {
    const pty: Step = { op: "openPty", rows: 24, columns: 80, bindConsole: true };
    const monitor = await create(["report", "/dev/console"], { maxLogLineBytes: 1 << 20 }, [pty]);
    await monitor.start();
    assert.equal((await monitor.onExit).exitCode, 0);
    const { stdout } = readLog(fixture.log());
    const report = JSON.parse(stdout) as {
      descriptors: { tty: boolean; device: string }[];
      paths: Record<string, { device: string }>;
    };
    assert.deepEqual(
      report.descriptors.map(({ tty }) => tty),
      [true, true, true],
    );
    assert.equal(report.paths["/dev/console"]?.device, report.descriptors[0]?.device);
  });

  it("resize() of a container without a terminal says ENOTTY", async () => {
    const monitor = await create(["sleep", "100"]);
    await assert.rejects(monitor.resize(1, 1), { errno: "ENOTTY" });
    kill(monitor);
    await monitor.onExit;
  });

  it("attachMonitor() says not-found without a monitor", async () => {
    await assert.rejects(attachMonitor(fixture.containerDir, output), { code: "not-found" });
  });
});

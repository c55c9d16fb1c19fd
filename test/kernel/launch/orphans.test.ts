// Processes that a container or an exec in the host's pid namespace leaves behind: the host of the launch is their parent.
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import type { HelperBinary } from "../../../src/linux/helper-binary.ts";
import type { LaunchProgram, Step } from "../../../src/linux/launch-program.ts";
import { readProcessStat } from "../../../src/linux/proc.ts";
import { startExec } from "../../../src/linux/start-exec.ts";
import { startMonitor } from "../../../src/linux/start-monitor.ts";
import { signalPidfd, openPidfd } from "../../../src/linux/pidfd.ts";
import { close } from "../../../src/linux/files.ts";
import { LaunchFixture, loadHelper, readLog } from "../../support/launch-fixture.ts";
import { requires } from "../../support/requires.ts";
import { until } from "../../support/until.ts";

// Three orphans that end one after the other, while the program itself goes on.
const script = "for s in 0 0.1 0.2; do (sleep $s & echo $!); done; exec sleep 1000";

const programOf = (...more: Step[]): LaunchProgram => ({
  steps: [
    { op: "fork", flags: 0 },
    { op: "newSession" },
    ...more,
    { op: "exec", argv: ["/bin/sh", "-c", script], env: [Buffer.from("PATH=/usr/bin:/bin")] },
  ],
});

const allGone = (pids: readonly number[]): boolean => pids.every((pid) => readProcessStat(pid) === undefined);

describe("orphans", requires("root"), () => {
  let helper: HelperBinary;
  const fixture = new LaunchFixture();
  before(() => {
    helper = loadHelper();
  });
  after(() => {
    helper.close();
    fixture.dispose();
  });

  it("startMonitor() leaves no zombies while the container runs", async () => {
    const { containerDir, logPath } = fixture;
    const monitor = await startMonitor(helper, programOf({ op: "waitGate" }), { containerDir, logPath });
    await monitor.start();
    const pids = (): number[] => readLog(fixture.log()).stdout.trim().split("\n").map(Number);
    await until("three orphans", () => pids().length === 3);
    await until("their end", () => allGone(pids()));
    const pidfd = openPidfd(monitor.initPid);
    signalPidfd(pidfd, 9);
    close(pidfd);
    assert.equal((await monitor.onExit).exitCode, 137);
  });

  it("startExec() leaves no zombies while the session lasts", async () => {
    const session = await startExec(helper, programOf(), { stdin: false });
    const pids: number[] = [];
    createInterface({ input: session.stdout }).on("line", (line) => pids.push(Number(line)));
    await until("three orphans", () => pids.length === 3);
    await until("their end", () => allGone(pids));
    session.kill();
    assert.equal((await session.exit).exitCode, 137);
  });
});

// Programs that leave no parent behind, and the parts processes are handled with: pidfds, reaping, passed descriptors.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fstatSync, readFileSync, readdirSync, readlinkSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { close } from "../../../src/linux/files.ts";
import type { HelperBinary } from "../../../src/linux/helper-binary.ts";
import {
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWPID,
  CLONE_NEWUTS,
  type Step,
} from "../../../src/linux/launch-program.ts";
import { createSealedMemfd } from "../../../src/linux/memfd.ts";
import { openSameProcess, readStartTime, signalPidfd, watchPidfd } from "../../../src/linux/pidfd.ts";
import { OrphanReaper, tryReap } from "../../../src/linux/reap.ts";
import { type SpawnedProcess, runSpawn } from "../../../src/linux/run-spawn.ts";
import { loadHelper } from "../../support/launch-fixture.ts";
import { requires } from "../../support/requires.ts";

const SIGTERM = 15;
const SIGKILL = 9;
const netlink: Step = { op: "sendSocket", domain: 16, type: 3, protocol: 0 };

async function reaped(pid: number): Promise<{ exitCode: number; signal: number }> {
  for (let turn = 0; turn < 500; turn++) {
    const status = tryReap(pid);
    if (typeof status === "object") return status;
    await delay(10);
  }
  throw new Error(`process ${pid} was not reaped`);
}

/** Once it has named itself, which is the first thing pause does: execve is reported a moment before. */
async function statusOfPause(pid: number): Promise<string> {
  for (let left = 1000; ; left--) {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    if (/^Name:\tpause$/m.test(status)) return status;
    assert.ok(left > 0, status);
    await delay(5);
  }
}

describe("runSpawn()", requires("root"), () => {
  let helper: HelperBinary;
  before(() => {
    helper = loadHelper();
  });
  after(() => helper.close());

  const pause = (): Step => ({ op: "execFd", fd: helper.pauseFd, argv: ["pause"], env: [] });
  const end = async (
    spawned: SpawnedProcess,
    signal = SIGTERM,
  ): Promise<{ exitCode: number; signal: number }> => {
    signalPidfd(spawned.pidfd, signal);
    const status = await reaped(spawned.pid);
    for (const fd of [spawned.pidfd, ...spawned.sockets]) close(fd);
    return status;
  };

  it("makes a pause process in namespaces of its own, and hands back its sockets", async () => {
    const flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
    const steps: Step[] = [
      { op: "fork", flags },
      { op: "newSession" },
      { op: "sethostname", name: "pod" },
      netlink,
      netlink,
      pause(),
    ];
    const spawned = await runSpawn(helper, { steps });
    assert.equal(spawned.sockets.length, 2);
    for (const socket of spawned.sockets) assert.ok(fstatSync(socket).isSocket());
    for (const kind of ["pid", "net", "ipc", "uts"]) {
      const own = readlinkSync(`/proc/self/ns/${kind}`);
      assert.notEqual(readlinkSync(`/proc/${spawned.pid}/ns/${kind}`), own);
    }
    const status = await statusOfPause(spawned.pid);
    assert.match(status, new RegExp(`^PPid:\t${process.pid}$`, "m"), "its parent is gone");
    assert.match(status, /^NSpid:\t\d+\t1$/m);
    assert.deepEqual(readdirSync(`/proc/${spawned.pid}/fd`), [], "it holds no descriptor");
    assert.deepEqual(await end(spawned), { exitCode: 0, signal: 0 });
  });

  it("takes a few pages", async () => {
    const spawned = await runSpawn(helper, { steps: [{ op: "fork", flags: CLONE_NEWPID }, pause()] });
    const rollup = readFileSync(`/proc/${spawned.pid}/smaps_rollup`, "utf8");
    assert.ok(Number(/^Pss:\s+(\d+)/m.exec(rollup)![1]) < 50);
    await end(spawned);
  });

  it("without a fork the started process becomes the program", async () => {
    const spawned = await runSpawn(helper, { steps: [{ op: "newSession" }, pause()] });
    await statusOfPause(spawned.pid);
    assert.deepEqual(await end(spawned, SIGKILL), { exitCode: 137, signal: SIGKILL });
  });

  it("pause reaps what is orphaned to it", async () => {
    const spawned = await runSpawn(helper, { steps: [{ op: "fork", flags: CLONE_NEWPID }, pause()] });
    const orphan = ["-t", String(spawned.pid), "-p", "sh", "-c", "(sleep 0.05 &) ; exit 0"];
    assert.equal(spawnSync("nsenter", orphan).status, 0);
    const children = (): string =>
      readFileSync(`/proc/${spawned.pid}/task/${spawned.pid}/children`, "utf8").trim();
    for (let turn = 0; children() !== "" && turn < 500; turn++) await delay(10);
    assert.equal(children(), "");
    await end(spawned);
  });

  it("reports warnings, and rejects with the step that failed on either side of the fork", async () => {
    const optional: Step = { op: "setdomainname", name: "x".repeat(100), optional: true };
    const spawned = await runSpawn(helper, {
      steps: [{ op: "fork", flags: CLONE_NEWUTS }, optional, pause()],
    });
    assert.equal(spawned.warnings.length, 1);
    await end(spawned);
    const broken: Step = { op: "sethostname", name: "x".repeat(100) };
    const uts: Step = { op: "unshare", flags: CLONE_NEWUTS };
    const fork: Step = { op: "fork", flags: CLONE_NEWUTS };
    for (const steps of [
      [uts, broken, fork, pause()],
      [fork, netlink, broken, pause()],
    ]) {
      const index = steps.indexOf(broken) + 1;
      await assert.rejects(runSpawn(helper, { steps }), {
        name: "LaunchError",
        message: `set hostname ${"x".repeat(100)}: sethostname: EINVAL (step ${index} of 4)`,
      });
    }
  });

  it("leaks no descriptor, whether it succeeds or fails", async () => {
    const open = (): number => readdirSync("/proc/self/fd").length;
    const broken: Step = { op: "chdir", path: "/nonexistent", create: false };
    const fork: Step = { op: "fork", flags: CLONE_NEWNET };
    const once = async (): Promise<void> => {
      await end(await runSpawn(helper, { steps: [fork, netlink, pause()] }));
      await assert.rejects(runSpawn(helper, { steps: [fork, netlink, broken, pause()] }));
      await assert.rejects(runSpawn(helper, { steps: [] }), { code: "invalid-argument" });
      await delay(5);
    };
    await once();
    const before = open();
    for (let round = 0; round < 10; round++) await once();
    assert.equal(open(), before);
  });

  it("openSameProcess() tells a process from another with its pid", async () => {
    const spawned = await runSpawn(helper, { steps: [{ op: "newSession" }, pause()] });
    const startTime = readStartTime(spawned.pid)!;
    const pidfd = openSameProcess(spawned.pid, startTime);
    assert.ok(pidfd !== undefined);
    assert.equal(openSameProcess(spawned.pid, startTime + 1n), undefined);
    const ended = new Promise<void>((resolve) => void watchPidfd(pidfd, resolve));
    await end(spawned);
    await ended;
    assert.equal(signalPidfd(pidfd, 0), false);
    close(pidfd);
    assert.equal(openSameProcess(spawned.pid, startTime), undefined);
    assert.equal(readStartTime(spawned.pid), undefined);
  });

  it("OrphanReaper reaps at the second look, and leaves node's own children alone", async () => {
    const reaper = new OrphanReaper();
    const spawned = await runSpawn(helper, { steps: [{ op: "newSession" }, pause()] });
    signalPidfd(spawned.pidfd, SIGKILL);
    for (let turn = 0; signalPidfd(spawned.pidfd, 0) && turn < 20; turn++) await delay(10);
    assert.deepEqual(reaper.sweep(), []);
    assert.deepEqual(reaper.sweep(), [spawned.pid]);
    assert.equal(tryReap(spawned.pid), "gone");
    close(spawned.pidfd);
    assert.equal(spawnSync("true").status, 0);
  });

  it("createSealedMemfd() keeps its content for good", () => {
    const fd = createSealedMemfd("sealed", Buffer.from("content"));
    const path = `/proc/self/fd/${fd}`;
    assert.equal(readFileSync(path, "utf8"), "content");
    for (const command of [`printf x >> ${path}`, `: > ${path}`])
      assert.notEqual(spawnSync("sh", ["-c", command.replace("self", String(process.pid))]).status, 0);
    assert.equal(readFileSync(path, "utf8"), "content");
    close(fd);
  });
});

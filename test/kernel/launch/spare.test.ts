// A helper that is started before there is anything to launch, and what becomes of it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { close } from "../../../src/linux/files.ts";
import type { HelperBinary } from "../../../src/linux/helper-binary.ts";
import type { Step } from "../../../src/linux/launch-program.ts";
import { signalPidfd } from "../../../src/linux/pidfd.ts";
import { sendDescriptors } from "../../../src/linux/sockets.ts";
import { startHelper } from "../../../src/linux/waiting-helper.ts";
import { tryReap } from "../../../src/linux/reap.ts";
import { runExec } from "../../../src/linux/run-exec.ts";
import { runSpawn } from "../../../src/linux/run-spawn.ts";
import { startMonitor } from "../../../src/linux/start-monitor.ts";
import { LaunchFixture, loadHelper, reportOf } from "../../support/launch-fixture.ts";
import { leakFree } from "../../support/leak-check.ts";
import { requires } from "../../support/requires.ts";
import { until } from "../../support/until.ts";

/** What `look` finds, once it finds something. */
async function eventually<T>(what: string, look: () => T | undefined): Promise<T> {
  let found: T | undefined;
  await until(what, () => (found = look()) !== undefined);
  return found!;
}

/** The pid of the child of `parent` that waits for a program. */
function spareOf(parent: number): number | undefined {
  const children = readFileSync(`/proc/${parent}/task/${parent}/children`, "utf8").trim().split(" ");
  return children.map(Number).find((pid) => pid > 0 && nameOf(pid) === "cricket-spare");
}

function nameOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return undefined;
  }
}

const nextSpare = (): Promise<number> => eventually("a helper waits", () => spareOf(process.pid));

describe("SpareHelper", requires("root"), () => {
  let plain: HelperBinary;
  let helper: HelperBinary;
  before(() => {
    plain = loadHelper();
    helper = loadHelper();
    helper.keepSpare();
  });
  after(() => {
    helper.close();
    plain.close();
  });

  const steps = (fixture: LaunchFixture): Step[] => [...fixture.inRootfs(), { op: "pivotRoot" }];
  const pause = (): Step => ({ op: "execFd", fd: helper.pauseFd, argv: ["pause"], env: [] });

  it("waits with nothing but stdio and its socket, and cannot be looked into", async () => {
    const pid = await nextSpare();
    assert.deepEqual(readdirSync(`/proc/${pid}/fd`).sort(), ["0", "1", "2", "3"]);
    assert.match(readlinkSync(`/proc/${pid}/fd/3`), /^socket:/);
    assert.match(readlinkSync(`/proc/${pid}/exe`), /^\/memfd:cricket-init/);
    assert.match(readFileSync(`/proc/${pid}/status`, "utf8"), /^SigIgn:\t0+$/m);
    assert.equal(readFileSync(`/proc/${pid}/environ`, "utf8"), "");
  });

  it("becomes the monitor of the next container, which is like any other", async () => {
    const reports = [];
    for (const from of [plain, helper]) {
      const fixture = new LaunchFixture();
      const spare = await nextSpare();
      const report = await reportOf(from, fixture, steps(fixture), "/", "/dev/null");
      if (from === helper) assert.notEqual(await nextSpare(), spare);
      fixture.dispose();
      const { keyring: _keyring, cgroup: _cgroup, status: _status, mounts: _mounts, ...rest } = report;
      // New for each container.
      for (const descriptor of rest.descriptors) Object.assign(descriptor, { inode: 0, filesystem: "" });
      for (const path of Object.values(rest.paths)) path.filesystem = "";
      reports.push(rest);
    }
    assert.deepEqual(reports[1], reports[0]);
  });

  it("becomes what any host is started for", async () => {
    let spare = await nextSpare();
    const spawned = await runSpawn(helper, { steps: [{ op: "newSession" }, pause()] });
    assert.equal(spawned.pid, spare);
    await until("pause has named itself", () => nameOf(spare) === "pause");
    assert.deepEqual(readdirSync(`/proc/${spare}/fd`), []);
    signalPidfd(spawned.pidfd, 9);
    close(spawned.pidfd);
    await eventually("the end of pause", () => tryReap(spare));
    spare = await nextSpare();
    const fork: Step = { op: "fork", flags: 0 };
    const result = await runExec(helper, {
      steps: [fork, { op: "exec", argv: ["/bin/echo", "said"], env: [] }],
    });
    assert.equal(result.stdout.toString(), "said\n");
    assert.notEqual(await nextSpare(), spare);
  });

  it("is missed by nobody who comes while there is none, or finds it killed", async () => {
    const spare = await nextSpare();
    process.kill(spare, "SIGKILL");
    for (let round = 0; round < 3; round++) {
      const spawned = await runSpawn(helper, { steps: [{ op: "newSession" }, pause()] });
      assert.notEqual(spawned.pid, spare);
      signalPidfd(spawned.pidfd, 9);
      close(spawned.pidfd);
      await eventually("the end of pause", () => tryReap(spawned.pid));
    }
    await until("the killed one to be reaped", () => nameOf(spare) === undefined);
    await nextSpare();
  });

  it("gets more descriptors than a message takes, and more bytes than its socket", async () => {
    for (const from of [helper, plain]) {
      await nextSpare();
      const fixture = new LaunchFixture();
      const kept = Array.from({ length: 253 }, () => openSync("/dev/null", "r"));
      // execve takes at most a quarter of the stack's limit (2 MiB); one string 128 KiB.
      const env = Array.from({ length: 12 }, () => Buffer.from(`BIG=${"x".repeat(100_000)}`));
      const exec: Step = { op: "exec", argv: ["/probe", "exit", "3"], env };
      const program = { steps: [...steps(fixture), { op: "waitGate" } as const, exec] };
      const { containerDir, logPath } = fixture;
      const monitor = await startMonitor(from, program, { containerDir, logPath, kept });
      for (const fd of kept) closeSync(fd);
      await monitor.start();
      assert.equal((await monitor.onExit).exitCode, 3);
      fixture.dispose();
    }
  });

  it(
    "ends with its owner, and leaves nothing",
    leakFree(async () => {
      const own = loadHelper();
      own.keepSpare();
      const { pid } = await spawnPause(own);
      own.close();
      await until("the end of pause", () => nameOf(pid) === undefined);
    }),
  );

  async function spawnPause(from: HelperBinary): Promise<{ pid: number }> {
    const { pid, pidfd } = await runSpawn(from, {
      steps: [{ op: "newSession" }, { op: "execFd", fd: from.pauseFd, argv: ["pause"], env: [] }],
    });
    signalPidfd(pidfd, 9);
    close(pidfd);
    await eventually("the end of pause", () => tryReap(pid));
    return { pid };
  }

  it("ends when its daemon is killed", async () => {
    const source = `
      import { loadHelper } from ${JSON.stringify(join(import.meta.dirname, "../../support/launch-fixture.ts"))};
      loadHelper().keepSpare();
      console.log("ready");
      setInterval(() => {}, 1000);`;
    const daemon = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", source], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(daemon.stdout, "data");
    const spare = await eventually("a helper waits", () => spareOf(daemon.pid!));
    daemon.kill("SIGKILL");
    await once(daemon, "exit");
    await eventually("the end of the helper", () => tryReap(spare));
  });

  it("refuses what is no program, in words", async () => {
    const { pid, control, controlFd } = startHelper(helper);
    const answer: Buffer[] = [];
    control.on("data", (chunk: Buffer) => answer.push(chunk));
    const closed = once(control, "close");
    sendDescriptors(controlFd, Buffer.alloc(64), [helper.nullFd]);
    assert.deepEqual(await eventually("its end", () => tryReap(pid)), { exitCode: 1, signal: 0 });
    await closed;
    assert.match(Buffer.concat(answer).toString("latin1"), /read the program/);
  });
});

// Execs: output, limits, time-outs with process trees, daemons that die, live streams.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, openSync, closeSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { spawnHelper } from "../../../src/linux/spawn-helper.ts";
import type { HelperBinary } from "../../../src/linux/helper-binary.ts";
import {
  CLONE_NEWNS,
  CLONE_NEWPID,
  type LaunchProgram,
  type Step,
} from "../../../src/linux/launch-program.ts";
import { runExec } from "../../../src/linux/run-exec.ts";
import { startExec } from "../../../src/linux/start-exec.ts";
import { tryReap } from "../../../src/linux/reap.ts";
import { LaunchFixture, loadHelper, probe } from "../../support/launch-fixture.ts";
import { requires } from "../../support/requires.ts";

const probePath = join(import.meta.dirname, "../../../build/probe");
const SIGKILL = 9;

function programOf(...words: string[]): LaunchProgram {
  return {
    steps: [
      { op: "fork", flags: 0 },
      { op: "newSession" },
      { op: "exec", argv: [probePath, ...words], env: [] },
    ],
  };
}

/** Processes of the probe with these words, zombies included. */
function probesWith(word: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0").includes(word);
      } catch {
        return false;
      }
    })
    .map(Number);
}

function exists(pid: number): boolean {
  try {
    readFileSync(`/proc/${pid}/stat`);
    return true;
  } catch {
    return false;
  }
}

async function textOf(stream: Readable): Promise<string> {
  let text = "";
  for await (const chunk of stream) text += String(chunk);
  return text;
}

describe("exec", requires("root"), () => {
  let helper: HelperBinary;
  before(() => {
    helper = loadHelper();
  });
  after(() => helper.close());

  it("runExec() returns both streams and the code", async () => {
    const out = await runExec(helper, programOf("print", "1", "to stdout\n", "no newline"));
    assert.deepEqual(
      { ...out, stdout: out.stdout.toString(), stderr: out.stderr.toString() },
      { exitCode: 0, stdout: "to stdout\nno newline", stderr: "", timedOut: false, warnings: [] },
    );
    const failed = await runExec(helper, programOf("exit", "9"));
    assert.equal(failed.exitCode, 9);
    assert.equal((await runExec(helper, programOf("raise", "11"))).exitCode, 139);
    assert.equal(
      (await runExec(helper, programOf("print", "2", "to stderr"))).stderr.toString(),
      "to stderr",
    );
  });

  it("runExec() keeps maxOutputBytes of each stream and reads on (CVE-2022-1708)", async () => {
    const result = await runExec(helper, programOf("flood", "1", "10000000"), { maxOutputBytes: 100_000 });
    assert.deepEqual([result.exitCode, result.stdout.length], [0, 100_000]);
    const whole = await runExec(helper, programOf("flood", "2", "3000000"));
    assert.equal(whole.stderr.length, 3_000_000);
  });

  it("runExec() returns with its process though a child keeps stdout (containerd#7802)", async () => {
    const began = Date.now();
    const result = await runExec(helper, programOf("background", "3"));
    assert.deepEqual([result.exitCode, result.stdout.toString()], [5, "parent ends\n"]);
    assert.ok(Date.now() - began < 2_500);
  });

  it("runExec() kills the whole tree at the time-out and reaps it, by /proc", async () => {
    const result = await runExec(helper, programOf("tree", "9"), { timeoutMs: 300 });
    assert.deepEqual([result.timedOut, result.exitCode], [true, 137]);
    const pids = result.stdout.toString().trim().split("\n").map(Number);
    assert.equal(pids.length, 7);
    assert.deepEqual(pids.filter(exists), [], "not even a zombie is left");
  });

  it("runExec() kills what hides from /proc by a cgroup", requires("cgroup-kill"), async () => {
    const parent = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].find((path) =>
      readdirSync(path).includes("cgroup.procs"),
    )!;
    const cgroup = join(parent, `cricket-exec-test-${process.pid}`);
    mkdirSync(cgroup);
    const [directory, killCgroup] = [openSync(cgroup, "r"), openSync(join(cgroup, "cgroup.kill"), "w")];
    try {
      const program = programOf("tree", "9");
      program.steps[0] = { op: "fork", flags: 0, cgroup: directory };
      const result = await runExec(helper, program, { timeoutMs: 300, killCgroup });
      assert.equal(result.timedOut, true);
      const pids = result.stdout.toString().trim().split("\n").map(Number);
      assert.deepEqual(pids.filter(exists), []);
    } finally {
      closeSync(directory);
      closeSync(killCgroup);
      rmdirSync(cgroup);
    }
  });

  it("runExec() kills the tree when it is aborted", async () => {
    const controller = new AbortController();
    const running = runExec(helper, programOf("tree", "5", "aborted"), { signal: controller.signal });
    for (let turn = 0; probesWith("aborted").length < 4 && turn < 500; turn++) await delay(10);
    controller.abort();
    await assert.rejects(running, { code: "cancelled" });
    assert.deepEqual(probesWith("aborted"), []);
    await assert.rejects(runExec(helper, programOf("exit", "0"), { signal: controller.signal }), {
      code: "cancelled",
    });
  });

  it("kills the tree when the daemon's end of the socket closes", async () => {
    const process = spawnHelper(helper, programOf("tree", "5", "orphaned"), {
      type: "exec",
      stdin: false,
      streaming: false,
      timeoutMs: 0,
      maxOutputBytes: 0,
    });
    for (let turn = 0; probesWith("orphaned").length < 4 && turn < 500; turn++) await delay(10);
    assert.ok(probesWith("orphaned").length >= 4);
    process.control.destroy();
    for (let turn = 0; tryReap(process.pid) === undefined && turn < 500; turn++) await delay(10);
    assert.deepEqual(probesWith("orphaned"), []);
  });

  it("runExec() rejects with the step that failed and leaves nothing", async () => {
    const steps: Step[] = [
      { op: "fork", flags: 0 },
      { op: "chdir", path: "/no/such/place", create: false },
      { op: "exec", argv: ["/bin/true"], env: [] },
    ];
    await assert.rejects(runExec(helper, { steps }), {
      name: "LaunchError",
      message: "change directory to /no/such/place: openat2: ENOENT (step 2 of 3)",
    });
  });

  it("runExec() runs many at a time", async () => {
    const results = await Promise.all(
      Array.from({ length: 40 }, (_value, index) => runExec(helper, programOf("print", "1", `n${index}`))),
    );
    assert.deepEqual(
      results.map(({ stdout }) => stdout.toString()),
      results.map((_result, index) => `n${index}`),
    );
  });

  it("startExec() streams stdin until it is ended", async () => {
    const session = await startExec(helper, programOf("cat"), { stdin: true });
    const text = "some input\n".repeat(50_000);
    session.stdin.end(text);
    const [stdout, stderr, exit] = await Promise.all([
      textOf(session.stdout),
      textOf(session.stderr),
      session.exit,
    ]);
    assert.equal(stdout.length, text.length + "end of input\n".length);
    assert.ok(stdout.endsWith("some input\nend of input\n"));
    assert.deepEqual([stderr, exit], ["", { exitCode: 0, signal: 0, timedOut: false }]);
  });

  it("startExec() rejects when the program is not there", async () => {
    const program = programOf();
    program.steps[2] = { op: "exec", argv: ["/missing"], env: [] };
    await assert.rejects(startExec(helper, program, { stdin: false }), { errno: "ENOENT" });
  });

  it("startExec() holds the program up while nobody reads, and loses nothing", async () => {
    const session = await startExec(helper, programOf("flood", "1", "5000000"), { stdin: false });
    await delay(100);
    assert.equal((await textOf(session.stdout)).length, 5_000_000);
    assert.equal((await session.exit).exitCode, 0);
  });

  it("startExec() kills on demand", async () => {
    const session = await startExec(helper, programOf("sleep", "100"), { stdin: false });
    await once(session.stdout, "data");
    session.kill();
    assert.equal((await session.exit).signal, SIGKILL);
  });

  it("startExec() gives a terminal: size, resize, one stream, controlling", async () => {
    const fixture = new LaunchFixture();
    try {
      const session = await startExec(helper, terminalProgram(fixture, "winsize"), { stdin: true });
      const lines: string[] = [];
      session.stdout.on("data", (chunk: Buffer) => lines.push(...chunk.toString().trim().split("\r\n")));
      for (let turn = 0; lines.length < 1 && turn < 500; turn++) await delay(10);
      session.resize(50, 132);
      for (let turn = 0; lines.length < 2 && turn < 500; turn++) await delay(10);
      assert.deepEqual(lines.slice(0, 2), ["24 80", "50 132"]);
      // The interrupt character reaches the foreground process of the controlling terminal.
      session.stdin.write("\x03");
      assert.equal((await session.exit).exitCode, 130);
    } finally {
      fixture.dispose();
    }
  });

  it("startExec() delivers the last words of a terminal", async () => {
    for (let round = 0; round < 10; round++) {
      const fixture = new LaunchFixture();
      const session = await startExec(helper, terminalProgram(fixture, "lines", "1", "100", "50"), {
        stdin: false,
      });
      const text = await textOf(session.stdout);
      await session.exit;
      fixture.dispose();
      assert.equal(text.length, 100 * 52);
    }
  });
});

function terminalProgram(fixture: LaunchFixture, ...words: string[]): LaunchProgram {
  return {
    steps: [
      ...fixture.enterRootfs(CLONE_NEWNS | CLONE_NEWPID),
      fixture.mountProc(),
      ...fixture.mountDev(),
      { op: "openPty", rows: 24, columns: 80, bindConsole: true },
      { op: "pivotRoot" },
      probe(...words),
    ],
  };
}

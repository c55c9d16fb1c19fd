// CreateContainer and StartContainer from a checkpoint, with a criu that works here.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { toInt64 } from "../../cri-api/int64.ts";
import { criuSkip } from "../support/criu.ts";
import { startNode, untilExited, type TestNode, type TestPod } from "../support/node.ts";
import { requires } from "../support/requires.ts";

const criu = process.env["CRICKET_TEST_CRIU"] ?? "criu";
const needs = { ...requires("root", "overlay", "package:busybox-static"), ...criuSkip(criu) };

const counting = [
  "sh",
  "-c",
  "trap 'echo bye; exit 7' TERM; echo new > /made; rm -r /etc/gone; i=0; while :; do i=$((i+1)); echo $i; echo $i > /count; sleep 0.02; done",
];

describe("a container from a checkpoint", needs, () => {
  let node: TestNode;
  let directory: string;
  before(async () => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "cricket-restore-"));
    const program = spawnSync("sh", ["-c", `command -v ${criu}`], { encoding: "utf8" }).stdout.trim();
    fs.symlinkSync(program, path.join(directory, "criu"));
    node = await startNode({ env: { PATH: `${directory}:${process.env["PATH"]}` } });
  });
  after(async () => {
    await node.close();
    fs.rmSync(directory, { recursive: true, force: true });
  });

  async function run(containerId: string, ...cmd: string[]): Promise<string> {
    const { stdout } = await node.runtime.execSync({ containerId, cmd, timeout: toInt64(9n) });
    return Buffer.from(stdout).toString();
  }

  async function checkpoint(containerId: string, name: string): Promise<string> {
    const location = path.join(directory, name);
    await node.runtime.checkpointContainer({ containerId, location, timeout: toInt64(60n) });
    return location;
  }

  async function untilAbove(id: string, number: number): Promise<number> {
    for (;;) {
      const count = Number(await run(id, "cat", "/count"));
      if (count > number) return count;
      await delay(20);
    }
  }

  async function taken(name: string): Promise<string> {
    const pod = await node.runPod(`${name}-before`);
    const id = await pod.start({ name: "main", command: counting });
    await untilAbove(id, 5);
    const archive = await checkpoint(id, `${name}.tar`);
    await pod.remove();
    return archive;
  }

  const restored = (pod: TestPod, archive: string): Promise<string> =>
    pod.create({ name: "main", image: archive });

  test("goes on in another pod: files, log, exec, stop, exit status", async () => {
    const archive = await taken("whole");
    const pod = await node.runPod("whole");
    const containerId = await restored(pod, archive);
    const { status } = await node.runtime.containerStatus({ containerId });
    assert.equal(status?.state, v1.ContainerState.CONTAINER_CREATED);
    await node.runtime.startContainer({ containerId });
    const count = Number(await run(containerId, "cat", "/count"));
    assert.ok(count >= 5, String(count));
    await untilAbove(containerId, count);
    assert.equal(await run(containerId, "cat", "/made"), "new\n");
    assert.match(await run(containerId, "hostname"), /^whole/);
    await node.daemon.restart();
    await untilAbove(containerId, count);
    await node.runtime.stopContainer({ containerId, timeout: toInt64(10n) });
    const end = await untilExited(node, containerId);
    assert.equal(end.exitCode, 7);
    const log = fs.readFileSync(pod.logPath("main"), "utf8").split("\n");
    const numbers = log.map((line) => Number(/ F (\d+)$/.exec(line)?.[1])).filter((number) => number > 0);
    assert.deepEqual(
      numbers,
      numbers.map((_number, index) => index + 1),
    );
    assert.match(log.at(-2) ?? "", / F bye$/);
    await pod.remove();
  });

  test("is stopped, or started after a restart of the daemon, while it waits", async () => {
    const archive = await taken("waits");
    const pod = await node.runPod("waits");
    const first = await restored(pod, archive);
    await node.daemon.restart();
    const { status } = await node.runtime.containerStatus({ containerId: first });
    assert.equal(status?.state, v1.ContainerState.CONTAINER_CREATED);
    await node.runtime.startContainer({ containerId: first });
    await untilAbove(first, await untilAbove(first, 5));
    await node.runtime.removeContainer({ containerId: first });
    const second = await restored(pod, archive);
    await node.runtime.stopContainer({ containerId: second });
    assert.equal((await untilExited(node, second)).exitCode, 137);
    await assert.rejects(node.runtime.startContainer({ containerId: second }), /is exited/);
    await pod.remove();
  });

  test("with a terminal: its output comes to the log, and who attaches may type", async () => {
    const before = await node.runPod("tty-before");
    const command = ["sh", "-c", "while read line; do echo got $line; done"];
    const id = await before.start({ name: "main", command, more: { tty: true, stdin: true } });
    const archive = await checkpoint(id, "tty.tar");
    await before.remove();
    const pod = await node.runPod("tty");
    const containerId = await pod.create({ name: "main", image: archive, more: { tty: true, stdin: true } });
    await node.runtime.startContainer({ containerId });
    const [init] = (await run(containerId, "readlink", "/proc/1/fd/0")).split("\n");
    assert.equal(init, "/dev/pts/0");
    await run(containerId, "sh", "-c", "echo hello > /proc/1/fd/1");
    while (!fs.readFileSync(pod.logPath("main"), "utf8").includes("hello")) await delay(20);
    await pod.remove();
    const plain = await node.runPod("tty-plain");
    const other = await restored(plain, archive);
    await assert.rejects(
      node.runtime.startContainer({ containerId: other }),
      /config\.tty: the checkpoint is of a container with a terminal/,
    );
    assert.equal((await untilExited(node, other)).reason, "StartError");
    await plain.remove();
  });

  test("of more privileges than it may have is killed before it runs", async () => {
    const before = await node.runPod("power-before");
    const linux = {
      securityContext: {
        capabilities: { addCapabilities: ["SYS_ADMIN"] },
        namespaceOptions: { pid: v1.NamespaceMode.CONTAINER },
      },
    };
    const id = await before.start({ name: "main", command: counting, more: { linux } });
    const archive = await checkpoint(id, "power.tar");
    await before.remove();
    const pod = await node.runPod("power");
    const containerId = await restored(pod, archive);
    await assert.rejects(
      node.runtime.startContainer({ containerId }),
      /the checkpoint is of more than the container may have: process \d+: Cap\w+ has CAP_SYS_ADMIN/,
    );
    assert.equal((await untilExited(node, containerId)).exitCode, 128);
    assert.doesNotMatch(fs.readFileSync(pod.logPath("main"), "utf8").split("\n").at(-2) ?? "", /bye/);
    await pod.remove();
  });
});

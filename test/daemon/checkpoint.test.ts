// CheckpointContainer of the embedded runtime: criu looks into pods for real.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { toInt64 } from "../../cri-api/int64.ts";
import { criuSkip } from "../support/criu.ts";
import { startNode, type TestNode } from "../support/node.ts";
import { requires } from "../support/requires.ts";

const criu = process.env["CRICKET_TEST_CRIU"] ?? "criu";
const needs = { ...requires("root", "overlay", "package:busybox-static"), ...criuSkip(criu) };

describe("a checkpoint of the embedded runtime", needs, () => {
  let node: TestNode;
  let directory: string;
  before(async () => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "cricket-checkpoint-"));
    const program = spawnSync("sh", ["-c", `command -v ${criu}`], { encoding: "utf8" }).stdout.trim();
    fs.symlinkSync(program, path.join(directory, "criu"));
    node = await startNode({ env: { PATH: `${directory}:${process.env["PATH"]}` } });
  });
  after(async () => {
    await node.close();
    fs.rmSync(directory, { recursive: true, force: true });
  });

  test("has the processes of the container, which runs on", async () => {
    const pod = await node.runPod("images");
    const command = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.02; done"];
    const containerId = await pod.start({ name: "main", command });
    const run = async (...cmd: string[]): Promise<string> => {
      const { stdout } = await node.runtime.execSync({ containerId, cmd, timeout: toInt64(9n) });
      return Buffer.from(stdout).toString();
    };
    const location = path.join(directory, "checkpoint.tar");
    await node.runtime.checkpointContainer({ containerId, location, timeout: toInt64(60n) });
    const names = execFileSync("tar", ["-tf", location], { encoding: "utf8" });
    for (const name of [
      "checkpoint/pages-1.img",
      "checkpoint/descriptors.json",
      "dump.log",
      "rootfs-diff.tar",
    ])
      assert.ok(names.split("\n").includes(`./${name}`), name);
    const before = await run("cat", "/count");
    while ((await run("cat", "/count")) === before);
    await pod.remove();
  });

  test("of a container with a terminal", async () => {
    const pod = await node.runPod("terminal");
    const containerId = await pod.start({ name: "main", command: ["sleep", "1000"], more: { tty: true } });
    const location = path.join(directory, "terminal.tar");
    await node.runtime.checkpointContainer({ containerId, location });
    const status = await node.runtime.containerStatus({ containerId });
    assert.equal(status.status?.state, v1.ContainerState.CONTAINER_RUNNING);
    await pod.remove();
  });
});

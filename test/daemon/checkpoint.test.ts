// CheckpointContainer of the embedded runtime: criu looks into pods for real.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { RpcError } from "../../cri-api/client.ts";
import { toInt64 } from "../../cri-api/int64.ts";
import { findTool } from "../../src/linux/run-tool.ts";
import { criuSkip } from "../support/criu.ts";
import { startNode, type TestNode } from "../support/node.ts";
import { requires } from "../support/requires.ts";

// The daemon takes criu from the usual places alone.
const needs = {
  ...requires("root", "overlay", "package:busybox-static"),
  ...criuSkip(findTool("criu") ?? "criu"),
};

describe("a checkpoint of the embedded runtime", needs, () => {
  let node: TestNode;
  let directory: string;
  before(async () => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "cricket-checkpoint-"));
    node = await startNode({});
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

  test("of a container with a terminal is refused, and nothing is left", async () => {
    const pod = await node.runPod("terminal");
    const containerId = await pod.start({ name: "main", command: ["sleep", "1000"], more: { tty: true } });
    const location = path.join(directory, "terminal.tar");
    await assert.rejects(node.runtime.checkpointContainer({ containerId, location }), (error: unknown) => {
      assert.ok(error instanceof RpcError, String(error));
      assert.match(error.message, /a container with a terminal cannot be checkpointed/);
      return true;
    });
    assert.ok(!fs.existsSync(location));
    await pod.remove();
  });
});

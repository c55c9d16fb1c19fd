// Signals and streams of the daemon and the command line: reloads, a terminal that goes away, output nobody reads.
import assert from "node:assert/strict";
import { spawn, type ChildProcess, type StdioOptions } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, closeSync, openSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { connectCri } from "../../cri-api/client.ts";
import { cricketProgram } from "../support/cricket-program.ts";
import { startNode, type TestNode } from "../support/node.ts";
import { requires } from "../support/requires.ts";
import { until } from "../support/until.ts";

const needs = requires("root", "overlay", "package:busybox-static");
const checkout = path.resolve(import.meta.dirname, "../..");

describe("signals and streams", needs, () => {
  let node: TestNode;

  before(async () => {
    node = await startNode({ settings: { "log.level": "warn" } });
  });
  after(async () => {
    await node.close();
  });

  function cricket(argv: readonly string[], stdio: StdioOptions): ChildProcess {
    const env = { ...process.env, CRICKET_SOCKET: node.daemon.socket };
    return spawn(process.execPath, [...cricketProgram(), ...argv], { cwd: checkout, env, stdio });
  }

  const pods = async (): Promise<number> => (await node.runtime.listPodSandbox({})).items.length;
  const endless = (): string[] => ["run", node.image, "sh", "-c", "while :; do echo line; sleep 0.1; done"];

  test("SIGHUP makes the daemon read its configuration again, and a wrong one changes nothing", async () => {
    const config = path.join(node.daemon.directory, "cricket.toml");
    const isPinned = async (): Promise<boolean | undefined> =>
      (await node.daemon.client.image.listImages({})).images[0]?.pinned;
    assert.equal(await isPinned(), false);
    appendFileSync(config, `image.pinned = ["${node.image}"]\nnetwork.mtu = 1300\n`);
    process.kill(node.daemon.pid, "SIGHUP");
    await until("the image is pinned", async () => (await isPinned()) === true);
    assert.match(node.daemon.log(), /level=warn .*settings=network\.mtu\n/);
    appendFileSync(config, "no.such = 1\n");
    process.kill(node.daemon.pid, "SIGHUP");
    await until("the failure is logged", () =>
      /configuration not reloaded.*no is not a setting/.test(node.daemon.log()),
    );
    assert.equal(await isPinned(), true);
  });

  test("`cricket run` removes its pod when its terminal goes away, and under nohup goes on", async () => {
    const child = cricket(endless(), ["ignore", "pipe", "inherit"]);
    await once(child.stdout!, "data");
    child.kill("SIGHUP");
    await once(child, "exit");
    assert.equal(child.exitCode, 129);
    assert.equal(await pods(), 0);
    const program = [process.execPath, ...cricketProgram(), ...endless()];
    const env = { ...process.env, CRICKET_SOCKET: node.daemon.socket };
    const ignoring = spawn("nohup", program, { cwd: checkout, env, stdio: ["ignore", "pipe", "inherit"] });
    await once(ignoring.stdout, "data");
    ignoring.kill("SIGHUP");
    await once(ignoring.stdout, "data");
    assert.equal(await pods(), 1);
    ignoring.kill("SIGTERM");
    await once(ignoring, "exit");
    assert.equal(await pods(), 0);
  });

  test("`cricket run` removes its pod when nobody reads its output any more", async () => {
    const child = cricket(endless(), ["ignore", "pipe", "inherit"]);
    await once(child.stdout!, "data");
    child.stdout!.destroy();
    await once(child, "exit");
    assert.equal(child.exitCode, 0);
    assert.equal(await pods(), 0);
  });

  test("the daemon goes on when its log cannot be written: a full disk, a reader that is gone", async () => {
    // A start writes the configuration anew: the test above has left a wrong line in it.
    await node.daemon.restart();
    await node.daemon.stop();
    const argv = [
      "daemon",
      "--config",
      path.join(node.daemon.directory, "cricket.toml"),
      "--log-level=debug",
    ];
    const full = openSync("/dev/full", "w");
    for (const stderr of [full, "pipe"] as const) {
      const child = cricket(argv, ["ignore", "ignore", stderr]);
      child.stderr?.destroy();
      const client = connectCri(node.daemon.endpoint);
      await until("the daemon answers", () =>
        client.runtime.version({}).then(Boolean, () => child.exitCode !== null),
      );
      await assert.rejects(client.runtime.containerStatus({ containerId: "none" }), /does not exist/);
      assert.equal(child.exitCode, null);
      child.kill("SIGTERM");
      await once(child, "exit");
      assert.equal(child.exitCode, 0);
      client.close();
    }
    closeSync(full);
    await node.daemon.start();
  });
});

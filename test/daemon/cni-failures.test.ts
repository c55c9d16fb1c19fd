// Pods on plugins that fail on demand, through the real daemon.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { enterPrivateNetns, skipUnlessRoot } from "../kernel/network/private-netns.ts";
import { CniDouble } from "../support/cni-double.ts";
import { startNode, type TestNode } from "../support/node.ts";
import { addressesOf, cniSettings, networkReady } from "../support/pod-network.ts";
import { requires } from "../support/requires.ts";
import { until } from "../support/until.ts";

if (skipUnlessRoot === false) await enterPrivateNetns();

describe("plugins that fail", requires("root", "overlay", "package:busybox-static"), () => {
  let node: TestNode;
  const double = new CniDouble();
  const chain = (...types: string[]) => ({
    cniVersion: "1.1.0",
    name: "doubles",
    plugins: types.map((type) => ({ type })),
  });

  before(async () => {
    double.install("good", "bad");
    double.configure("10-doubles.conflist", chain("good", "bad"));
    node = await startNode({ settings: cniSettings(double) });
  });
  after(async () => {
    await node.close();
    double[Symbol.dispose]();
  });

  test("ADD that fails is followed by DEL, and the retry succeeds", async () => {
    double.behave("bad", "ADD", `echo '{"code":100,"msg":"out of luck"}'; exit 1`);
    await assert.rejects(node.runPod("unlucky"), /plugin bad ADD: out of luck \(code 100\)/);
    assert.deepEqual(double.summary("ADD", "DEL"), ["good ADD", "bad ADD", "bad DEL", "good DEL"]);
    double.behave("bad", "ADD", "");
    const pod = await node.runPod("unlucky");
    assert.deepEqual(await addressesOf(node, pod.id), ["10.9.8.7"]);
    await pod.remove();
    assert.deepEqual((await node.runtime.listPodSandbox({})).items, []);
  });

  test("a daemon killed in ADD sends DEL when it comes back", async () => {
    double.forgetCalls();
    double.behave("good", "ADD", `touch '${double.directory}/adding'; sleep 1000`);
    const running = node.runPod("killed").catch(() => {});
    await until("ADD runs", () => fs.existsSync(path.join(double.directory, "adding")));
    await node.daemon.kill();
    await running;
    double.behave("good", "ADD", "");
    await node.daemon.start();
    await until("DEL was sent", () => double.summary("DEL").join() === "bad DEL,good DEL");
    assert.deepEqual((await node.runtime.listPodSandbox({})).items, []);
  });

  test("while one pod's plugin hangs, other pods go on", async () => {
    double.behave(
      "good",
      "ADD",
      `case "$CNI_ARGS" in *K8S_POD_NAME=slow*) while [ ! -e '${double.directory}/go' ]; do sleep 0.05; done;; esac`,
    );
    const slow = node.runPod("slow");
    const quick = await node.runPod("quick");
    await quick.remove();
    fs.writeFileSync(path.join(double.directory, "go"), "");
    await (await slow).remove();
    double.behave("good", "ADD", "");
  });

  test("StopPodSandbox fails while DEL does, and succeeds when it does", async () => {
    const pod = await node.runPod("sticky");
    double.behave("bad", "DEL", "exit 1");
    await assert.rejects(
      node.runtime.stopPodSandbox({ podSandboxId: pod.id }),
      /plugin bad DEL: exit status 1/,
    );
    double.behave("bad", "DEL", "");
    await pod.remove();
  });

  test("NetworkReady says what STATUS says, and pods on the host's network run all the same", async () => {
    double.behave("bad", "STATUS", `echo '{"code":51,"msg":"controller lost"}'; exit 1`);
    await node.daemon.restart();
    const { status, reason, message } = await networkReady(node);
    assert.deepEqual(
      { status, reason, message },
      {
        status: false,
        reason: "NetworkPluginNotReady",
        message: "plugin bad STATUS: controller lost (code 51)",
      },
    );
    await assert.rejects(node.runPod("waiting"), /pod network is not ready: .*controller lost/);
    const host = await node.runPod("host", { hostNetwork: true });
    await host.remove();
    double.behave("bad", "STATUS", "");
    await until("the network is ready", async () => (await networkReady(node)).status);
  });
});

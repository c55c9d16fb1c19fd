// network.mode: which network pods get, whatever /etc/cni/net.d holds.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CniDouble } from "../support/cni-double.ts";
import { until } from "../support/until.ts";
import { startNode } from "../support/node.ts";
import { addressesOf, cniSettings, networkReady } from "../support/pod-network.ts";
import { requires } from "../support/requires.ts";

describe("network.mode", requires("root", "overlay", "package:busybox-static"), () => {
  const config = { cniVersion: "1.1.0", name: "doubles", plugins: [{ type: "good" }] };

  test("cni: pods wait for a configuration and never get the bridge", async () => {
    using double = new CniDouble();
    double.install("good");
    const node = await startNode({ settings: { ...cniSettings(double), "network.mode": "cni" } });
    try {
      const { status, reason, message } = await networkReady(node);
      assert.deepEqual([status, reason], [false, "NetworkPluginNotReady"]);
      assert.equal(message, `no network configuration in ${double.confDir}`);
      await assert.rejects(node.runPod("early"), /no network configuration/);
      double.configure("10-doubles.conflist", config);
      await until("the network is ready", async () => (await networkReady(node)).status);
      const pod = await node.runPod("early");
      assert.deepEqual(await addressesOf(node, pod.id), ["10.9.8.7"]);
      await pod.remove();
      double.unconfigure("10-doubles.conflist");
      await until("the network is not ready", async () => !(await networkReady(node)).status);
    } finally {
      await node.close();
    }
  });

  test("bridge: a configuration is not looked at", async () => {
    using double = new CniDouble();
    double.install("good");
    double.configure("10-doubles.conflist", config);
    const node = await startNode({ settings: { ...cniSettings(double), "network.mode": "bridge" } });
    try {
      assert.equal((await networkReady(node)).status, true);
      const pod = await node.runPod("plain");
      assert.ok((await addressesOf(node, pod.id))[0]?.startsWith(node.daemon.subnet.replace(/0\/24$/, "")));
      await pod.remove();
      assert.deepEqual(double.calls(), []);
    } finally {
      await node.close();
    }
  });
});

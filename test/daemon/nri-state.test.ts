// What NRI plugins know of the node, and that they are told of all that ends again, also where another one is at fault.
import assert from "node:assert/strict";
import { lstatSync } from "node:fs";
import { describe, test } from "node:test";
import { fromInt64, toInt64 } from "../../cri-api/int64.ts";
import { untilExited } from "../support/node.ts";
import { TestPlugin } from "../support/nri-plugin.ts";
import { nriSuite, sleeping } from "../support/nri-suite.ts";
import { requires } from "../support/requires.ts";

const shares = (number: bigint) => ({
  linux: { resources: { cpu: { shares: { value: toInt64(number) } } } },
});

describe("an NRI plugin", requires("root", "overlay", "package:busybox-static"), () => {
  const suite = nriSuite({ "nri.request_timeout_ms": 2000, "nri.registration_timeout_ms": 2000 });
  const { withPlugin } = suite;
  const connect = (name: string, answers = {}): Promise<TestPlugin> =>
    TestPlugin.connect(suite.node.daemon.nriSocket, name, answers);

  const sharesOf = async (containerId: string): Promise<bigint> => {
    const { status } = await suite.node.runtime.containerStatus({ containerId });
    return fromInt64(status?.resources?.linux?.cpuShares);
  };

  test("is told where the namespaces of a pod are", async () => {
    await withPlugin("10-namespaces", {}, async (plugin, pod) => {
      const run = await plugin.until("RunPodSandbox", pod.id);
      const namespaces = new Map(run.pod?.linux?.namespaces.map(({ type, path }) => [type, path]));
      assert.deepEqual([...namespaces.keys()], ["network", "uts", "ipc"]);
      for (const path of namespaces.values())
        assert.ok(lstatSync(path).isFile() || path.startsWith("/proc/"));
      await pod.remove();
      const removed = await plugin.until("RemovePodSandbox", pod.id);
      assert.deepEqual(removed.pod?.linux?.namespaces, []);
    });
  });

  test("sees the scheduler, the I/O priority and the filter that those before it set", async () => {
    const linux = {
      scheduler: { policy: 4, nice: 3 },
      ioPriority: { class: 2, priority: 1 },
      seccompPolicy: { defaultAction: "SCMP_ACT_ALLOW" },
    };
    const first = await connect("10-first", { CreateContainer: () => ({ adjust: { linux } }) });
    await withPlugin("20-second", {}, async (plugin, pod) => {
      const containerId = await pod.start({ name: "main", ...sleeping });
      for (const method of ["CreateContainer", "PostStartContainer"]) {
        const { container } = await plugin.until(method, containerId);
        assert.equal(container?.linux?.scheduler?.nice, 3);
        assert.equal(container.linux.ioPriority?.priority, 1);
        assert.equal(container.linux.seccompPolicy?.defaultAction, "SCMP_ACT_ALLOW");
      }
    });
    first.close();
  });

  test("that knows of a container hears of its end where a later plugin refuses it", async () => {
    const second = await connect("20-refuses", {
      CreateContainer: () => {
        throw new Error("not this one");
      },
    });
    await withPlugin("10-first", {}, async (plugin, pod) => {
      await assert.rejects(pod.create({ name: "main", ...sleeping }), /not this one/);
      const id = plugin.asked.find(({ method }) => method === "CreateContainer")?.container?.id ?? "";
      await plugin.until("RemoveContainer", id);
      assert.deepEqual(plugin.methods(id), ["CreateContainer", "StopContainer", "RemoveContainer"]);
    });
    second.close();
  });

  test("is not told of containers that ended before it came", async () => {
    const pod = await suite.node.runPod("nri-ended");
    const ended = await pod.start({ name: "ended", command: ["true"] });
    await untilExited(suite.node, ended);
    const live = await pod.start({ name: "live", ...sleeping });
    const plugin = await connect("10-late");
    assert.deepEqual(
      plugin.synchronized.flatMap(({ containers }) => containers.map(({ id }) => id)),
      [live],
    );
    plugin.close();
    await pod.remove();
  });

  test("whose first answer contradicts itself is cut off", async () => {
    const pod = await suite.node.runPod("nri-contradicts");
    const containerId = await pod.start({ name: "main", ...sleeping });
    const update = [
      { containerId, ...shares(200n) },
      { containerId, ...shares(300n) },
    ];
    const before = await sharesOf(containerId);
    const plugin = await connect("10-twice", { Synchronize: () => ({ update }) });
    await plugin.closed;
    assert.equal(await sharesOf(containerId), before);
    await pod.remove();
  });

  test("asks for updates as it comes; that one of them fails does not keep it out", async () => {
    const pod = await suite.node.runPod("nri-comes");
    const containerId = await pod.start({ name: "main", ...sleeping });
    const wrong = { linux: { resources: { cpu: { cpus: "9999" } } } };
    const other = await pod.start({ name: "other", ...sleeping });
    const update = [
      { containerId, ...shares(200n) },
      { containerId: other, ...wrong },
    ];
    const plugin = await connect("10-comes", { Synchronize: () => ({ update }) });
    const third = await pod.start({ name: "third", ...sleeping });
    await plugin.until("PostStartContainer", third);
    assert.equal(await sharesOf(containerId), 200n);
    plugin.close();
    await pod.remove();
  });

  test("may ask for updates of a container that has gone, which fails nothing", async () => {
    let gone = "";
    const update = () => ({ update: [{ containerId: gone, ...shares(200n) }] });
    await withPlugin(
      "10-behind",
      { CreateContainer: update, UpdateContainer: update },
      async (plugin, pod) => {
        gone = "0".repeat(64);
        const containerId = await pod.start({ name: "main", ...sleeping });
        gone = await pod.start({ name: "ends", command: ["true"] });
        await untilExited(suite.node, gone);
        const linux = { cpuShares: toInt64(300n) };
        await suite.node.runtime.updateContainerResources({ containerId, linux });
        assert.equal(await sharesOf(containerId), 300n);
        assert.equal(plugin.methods(containerId).at(-1), "PostUpdateContainer");
      },
    );
  });

  test("names containers by their whole ids", async () => {
    await withPlugin("10-short", {}, async (plugin, pod) => {
      const containerId = await pod.start({ name: "main", ...sleeping });
      const part = containerId.slice(0, 12);
      const before = await sharesOf(containerId);
      const failed = await plugin.update({
        update: [
          { containerId: part, ...shares(200n) },
          { containerId: `${part}x`, ignoreFailure: true, ...shares(200n) },
        ],
        evict: [{ containerId: part, reason: "a mistake" }],
      });
      assert.deepEqual(
        failed.map((one) => one.containerId),
        [part],
      );
      assert.equal(await sharesOf(containerId), before);
    });
  });

  test("whose name is none is told why", async () => {
    await assert.rejects(connect("10-bad name"), /plugin_name is "bad name"/);
    await assert.rejects(connect("1-short"), /plugin_idx is "1"/);
  });
});

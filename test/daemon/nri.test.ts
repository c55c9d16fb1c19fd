// NRI plugins on a real daemon: what they are told, what they change, and that none of them stops the node.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { toInt64, fromInt64 } from "../../cri-api/int64.ts";
import { v1 as nri } from "../../cri-api/nri/v1/api.js";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { untilExited } from "../support/node.ts";
import { TestPlugin } from "../support/nri-plugin.ts";
import { nriSuite, sleeping } from "../support/nri-suite.ts";
import { requires } from "../support/requires.ts";

const value = (number: bigint) => ({ value: toInt64(number) });

describe("an NRI plugin", requires("root", "overlay", "package:busybox-static"), () => {
  const suite = nriSuite({ "nri.request_timeout_ms": 700, "nri.registration_timeout_ms": 700 });
  const { withPlugin, ask } = suite;

  test("is told of every step in a life, in order", async () => {
    await withPlugin("10-witness", {}, async (plugin, pod) => {
      const { info } = await suite.node.runtime.status({ verbose: true });
      assert.match(info["nri"] ?? "", /"plugins":\s*\[\s*"10-witness"/);
      const containerId = await pod.start({ name: "main", ...sleeping });
      const linux = { memoryLimitInBytes: toInt64(64n << 20n) };
      await suite.node.runtime.updateContainerResources({ containerId, linux });
      await suite.node.runtime.stopContainer({ containerId, timeout: toInt64(0n) });
      await suite.node.runtime.removeContainer({ containerId });
      await plugin.until("RemoveContainer", containerId);
      assert.deepEqual(plugin.methods(containerId), [
        "CreateContainer",
        "PostCreateContainer",
        "StartContainer",
        "PostStartContainer",
        "UpdateContainer",
        "PostUpdateContainer",
        "StopContainer",
        "RemoveContainer",
      ]);
      const created = plugin.asked.find(({ method }) => method === "CreateContainer");
      assert.equal(created?.container?.name, "main");
      assert.deepEqual(created.container.args, sleeping.command);
      assert.equal(created.pod?.name, "nri-10-witness");
      assert.equal(created.pod.ips.length, 1);
      await pod.remove();
      await plugin.until("RemovePodSandbox", pod.id);
      assert.deepEqual(plugin.methods(pod.id), ["RunPodSandbox", "StopPodSandbox", "RemovePodSandbox"]);
    });
  });

  test("is told of new resources of a pod", async () => {
    await withPlugin("10-pods", {}, async (plugin, pod) => {
      const resources = { memoryLimitInBytes: toInt64(512n << 20n) };
      await suite.node.runtime.updatePodSandboxResources({ podSandboxId: pod.id, resources });
      const { resources: asked } = await plugin.until("UpdatePodSandbox", pod.id);
      assert.equal(fromInt64(asked?.memory?.limit?.value), 512n << 20n);
      const { pod: updated } = await plugin.until("PostUpdatePodSandbox", pod.id);
      assert.equal(fromInt64(updated?.linux?.podResources?.memory?.limit?.value), 512n << 20n);
    });
  });

  test("is told of an end that nobody asked for", async () => {
    await withPlugin("10-ends", {}, async (plugin, pod) => {
      const containerId = await pod.start({ name: "main", command: ["sh", "-c", "exit 3"] });
      await untilExited(suite.node, containerId);
      const { container } = await plugin.until("StopContainer", containerId);
      assert.equal(container?.exitCode, 3);
      assert.equal(container.state, nri.ContainerState.CONTAINER_STOPPED);
    });
  });

  test("of an older kind hears by StateChange", async () => {
    const unimplemented = ["RunPodSandbox", "PostStartContainer"];
    await withPlugin("10-old", { unimplemented }, async (plugin, pod) => {
      await plugin.until(`StateChange ${nri.Event.RUN_POD_SANDBOX}`, pod.id);
      const containerId = await pod.start({ name: "main", ...sleeping });
      await plugin.until(`StateChange ${nri.Event.POST_START_CONTAINER}`, containerId);
    });
  });

  test("learns of what is there when it comes, in several messages where it is much", async () => {
    const pod = await suite.node.runPod("nri-early", {
      more: { annotations: Object.fromEntries([1, 2, 3, 4].map((n) => [`big-${n}`, "x".repeat(500_000)])) },
    });
    const containerId = await pod.start({ name: "main", ...sleeping });
    const other = await suite.node.runPod("nri-early-2", {
      more: { annotations: Object.fromEntries([1, 2, 3, 4].map((n) => [`big-${n}`, "y".repeat(500_000)])) },
    });
    await withPlugin("10-late", {}, async (plugin) => {
      assert.equal(plugin.synchronized.length, 2);
      const pods = plugin.synchronized.flatMap((request) => request.pods.map(({ id }) => id));
      assert.deepEqual(pods.toSorted(), [pod.id, other.id].toSorted());
      const containers = plugin.synchronized.flatMap((request) => request.containers);
      assert.deepEqual(
        containers.map(({ id, state }) => [id, state]),
        [[containerId, nri.ContainerState.CONTAINER_RUNNING]],
      );
    });
    await pod.remove();
    await other.remove();
  });

  test("adjusts what a container is", async () => {
    const adjust: nri.ContainerAdjustmentSent = {
      annotations: { "example.org/by": "plugin" },
      env: [
        { key: "ADDED", value: "by plugin" },
        { key: "-GONE", value: "" },
      ],
      mounts: [{ destination: "/plugin", type: "tmpfs", source: "tmpfs", options: ["size=64k", "mode=755"] }],
      rlimits: [{ type: "RLIMIT_NOFILE", soft: toInt64(77n), hard: toInt64(99n) }],
      linux: {
        devices: [
          {
            path: "/dev/full-too",
            type: "c",
            major: toInt64(1n),
            minor: toInt64(7n),
            fileMode: { value: 0o666 },
          },
        ],
        oomScoreAdj: value(123n),
        sysctl: {},
        resources: {
          memory: { limit: value(48n << 20n) },
          cpu: { shares: { value: toInt64(512n) } },
          pids: { limit: toInt64(44n) },
        },
        ioPriority: { class: 3, priority: 0 },
        scheduler: { policy: 4, nice: 3 },
      },
    };
    await withPlugin("10-adjuster", { CreateContainer: () => ({ adjust }) }, async (_plugin, pod) => {
      const more = { envs: [{ key: "GONE", value: Buffer.from("here") }] };
      const containerId = await pod.start({ name: "main", ...sleeping, more });
      const seen = await ask(
        containerId,
        `env; ulimit -n; cat /proc/self/oom_score_adj; grep /plugin /proc/mounts; echo x > /dev/full-too`,
      );
      assert.match(seen, /^ADDED=by plugin$/m);
      assert.doesNotMatch(seen, /GONE/);
      assert.match(seen, /^77$/m);
      assert.match(seen, /^123$/m);
      assert.match(seen, /^tmpfs \/plugin tmpfs .*size=64k/m);
      assert.match(seen, /No space left/);
      const { status } = await suite.node.runtime.containerStatus({ containerId });
      assert.equal(fromInt64(status?.resources?.linux?.memoryLimitInBytes), 48n << 20n);
      assert.equal(fromInt64(status?.resources?.linux?.cpuShares), 512n);
      assert.equal(await ask(containerId, "awk '{print $41, $19}' /proc/1/stat"), "3 3\n");
    });
  });

  test("has its own limits as the beginning of later updates", async () => {
    const adjust = { linux: { resources: { memory: { limit: value(48n << 20n) } } } };
    await withPlugin("10-limits", { CreateContainer: () => ({ adjust }) }, async (_plugin, pod) => {
      const containerId = await pod.start({ name: "main", ...sleeping });
      await suite.node.runtime.updateContainerResources({ containerId, linux: { cpuShares: toInt64(300n) } });
      const { status } = await suite.node.runtime.containerStatus({ containerId });
      assert.equal(fromInt64(status?.resources?.linux?.memoryLimitInBytes), 48n << 20n);
      assert.equal(fromInt64(status?.resources?.linux?.cpuShares), 300n);
    });
  });

  test("puts a container into another cgroup, which goes with it", async () => {
    const cgroupsPath = `${suite.node.daemon.cgroupParent}/elsewhere`;
    await withPlugin(
      "10-cgroup",
      { CreateContainer: () => ({ adjust: { linux: { cgroupsPath } } }) },
      async (_plugin, pod) => {
        const containerId = await pod.start({ name: "main", ...sleeping });
        const { info } = await suite.node.runtime.containerStatus({ containerId, verbose: true });
        const { pid } = JSON.parse(info["info"] ?? "{}") as { pid: number };
        assert.match(readFileSync(`/proc/${pid}/cgroup`, "utf8"), new RegExp(`:${cgroupsPath}$`, "m"));
      },
    );
  });

  test("changes an update, and updates other containers by the way", async () => {
    let other = "";
    const memory = { limit: value(40n << 20n) };
    await withPlugin(
      "10-updater",
      {
        UpdateContainer: ({ container }) => ({
          update: [
            { containerId: container?.id ?? "", linux: { resources: { memory } } },
            { containerId: other, linux: { resources: { cpu: { shares: value(333n) } } } },
          ],
        }),
      },
      async (_plugin, pod) => {
        const containerId = await pod.start({ name: "main", ...sleeping });
        other = await pod.start({ name: "other", ...sleeping });
        await suite.node.runtime.updateContainerResources({
          containerId,
          linux: { cpuShares: toInt64(200n) },
        });
        const { status } = await suite.node.runtime.containerStatus({ containerId });
        assert.equal(fromInt64(status?.resources?.linux?.memoryLimitInBytes), 40n << 20n);
        assert.equal(fromInt64(status?.resources?.linux?.cpuShares), 200n);
        const second = (await suite.node.runtime.containerStatus({ containerId: other })).status;
        assert.equal(fromInt64(second?.resources?.linux?.cpuShares), 333n);
      },
    );
  });

  test("asks for updates and evictions by itself, also from within an event", async () => {
    let self: TestPlugin | undefined;
    let target = "";
    await withPlugin(
      "10-active",
      {
        other: async ({ method }) => {
          if (method !== "StartContainer" || self === undefined || target === "") return;
          await self.update({
            update: [{ containerId: target, linux: { resources: { cpu: { shares: value(222n) } } } }],
          });
        },
      },
      async (plugin, pod) => {
        self = plugin;
        const containerId = await pod.create({ name: "main", ...sleeping });
        target = containerId;
        await suite.node.runtime.startContainer({ containerId });
        const { status } = await suite.node.runtime.containerStatus({ containerId });
        assert.equal(fromInt64(status?.resources?.linux?.cpuShares), 222n);
        const failed = await plugin.update({
          update: [
            { containerId: "nobody" },
            { containerId, linux: { resources: { cpu: { shares: value(111n) } } } },
          ],
          evict: [{ containerId, reason: "the test says so" }],
        });
        assert.deepEqual(
          failed.map((update) => update.containerId),
          ["nobody"],
        );
        const ended = await untilExited(suite.node, containerId);
        assert.equal(ended.state, v1.ContainerState.CONTAINER_EXITED);
      },
    );
  });

  test("refuses a pod, a container, a start and an update, and nothing is left", async () => {
    let refused = "";
    const refuse = (method: string): void => {
      if (method === refused) throw new Error(`no ${method} today`);
    };
    await withPlugin(
      "10-refuser",
      {
        other: ({ method }) => refuse(method),
        CreateContainer: () => (refuse("CreateContainer"), {}),
        UpdateContainer: () => (refuse("UpdateContainer"), {}),
      },
      async (plugin, pod) => {
        refused = "RunPodSandbox";
        await assert.rejects(
          suite.node.runPod("nri-refused"),
          /plugin 10-refuser, RunPodSandbox: no RunPodSandbox today/,
        );
        const { items } = await suite.node.runtime.listPodSandbox({});
        assert.deepEqual(
          items.map(({ id }) => id),
          [pod.id],
        );
        const failedId = plugin.asked.findLast(({ method }) => method === "RunPodSandbox")?.pod?.id ?? "";
        await plugin.until("RemovePodSandbox", failedId);
        refused = "CreateContainer";
        await assert.rejects(pod.create({ name: "main", ...sleeping }), /no CreateContainer today/);
        refused = "StartContainer";
        const containerId = await pod.create({ name: "main", ...sleeping });
        await assert.rejects(suite.node.runtime.startContainer({ containerId }), /no StartContainer today/);
        refused = "";
        await suite.node.runtime.startContainer({ containerId });
        refused = "UpdateContainer";
        await assert.rejects(
          suite.node.runtime.updateContainerResources({ containerId, linux: { cpuShares: toInt64(9n) } }),
          /no UpdateContainer today/,
        );
        // A stop cannot be refused.
        refused = "StopPodSandbox";
        await suite.node.runtime.stopPodSandbox({ podSandboxId: pod.id });
      },
    );
  });

  test("and another that set the same are told apart in the error", async () => {
    const adjust = { env: [{ key: "SAME", value: "1" }] };
    const second = await TestPlugin.connect(suite.node.daemon.nriSocket, "20-second", {
      CreateContainer: () => ({ adjust }),
    });
    await withPlugin("10-first", { CreateContainer: () => ({ adjust }) }, async (_plugin, pod) => {
      await assert.rejects(
        pod.create({ name: "main", ...sleeping }),
        /plugins 10-first and 20-second both set env "SAME"/,
      );
      second.close();
      await second.closed;
      await pod.create({ name: "main", ...sleeping });
    });
  });

  test("validates what others adjust", async () => {
    const adjust = { env: [{ key: "SECRET", value: "1" }] };
    const first = await TestPlugin.connect(suite.node.daemon.nriSocket, "10-first", {
      CreateContainer: () => ({ adjust }),
    });
    const seen: nri.ValidateContainerAdjustmentRequest[] = [];
    await withPlugin(
      "90-validator",
      {
        ValidateContainerAdjustment: (request) => (seen.push(request), { reject: true, reason: "not that" }),
      },
      async (_plugin, pod) => {
        await assert.rejects(pod.create({ name: "main", ...sleeping }), /90-validator rejects .*: not that/);
        const owners = Object.values(seen[0]?.owners?.owners ?? {})[0];
        assert.deepEqual(owners?.compound["6"]?.owners, { SECRET: "10-first" });
        assert.deepEqual(
          seen[0]?.plugins.map(({ name, index }) => `${index}-${name}`),
          ["10-first", "90-validator"],
        );
      },
    );
    first.close();
  });

  test("that cannot be applied refuses the container by name", async () => {
    const cases: [nri.ContainerAdjustmentSent, RegExp][] = [
      [{ linux: { namespaces: [{ type: "galaxy", path: "" }] } }, /linux.namespaces\[\d\].type.*galaxy/],
      [
        { linux: { resources: { rdtClass: { value: "gold" } } } },
        /RDT class gold: (?:no resctrl|there is no group)/,
      ],
      [{ linux: { oomScoreAdj: value(5000n) } }, /oom_score_adj 5000/],
      [{ linux: { cgroupsPath: "../../up" } }, /cgroups path/],
      [{ linux: { cgroupsPath: suite.node.daemon.cgroupParent } }, /cgroup .* exists already/],
      [{ mounts: [{ destination: "relative", type: "tmpfs" }] }, /"relative": not an absolute path/],
    ];
    for (const [index, [adjust, expected]] of cases.entries())
      await withPlugin(`1${index}-wrong`, { CreateContainer: () => ({ adjust }) }, async (_plugin, pod) => {
        await assert.rejects(pod.create({ name: "main", ...sleeping }), expected);
      });
  });

  test("is asked for by a pod that cannot be without it", async () => {
    const annotations = { "required-plugins.noderesource.dev": '["needed"]' };
    const pod = await suite.node.runPod("nri-required", { more: { annotations } });
    await assert.rejects(pod.create({ name: "main", ...sleeping }), /plugin is not connected: needed/);
    await withPlugin("10-needed", {}, async () => {
      await pod.create({ name: "main", ...sleeping });
    });
    await pod.remove();
  });
});

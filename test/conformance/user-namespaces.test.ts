// User namespaces of pods (KEP-127), where the runtime says that it has them, and the metrics of pods.
import assert from "node:assert/strict";
import fs from "node:fs";
import { after, before, describe, test } from "node:test";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { needs, openTarget, security, type Target } from "./target.ts";

const { POD, CONTAINER, NODE, TARGET } = v1.NamespaceMode;
const mapping = { containerId: 0, hostId: 100_000, length: 65_536 };
const unsupported = "no runtime handler has user_namespaces";

describe("conformance: user namespaces and metrics", needs, () => {
  let target: Target;
  let isSupported: boolean;

  before(async () => {
    target = await openTarget();
    const { runtimeHandlers } = await target.runtime.status({});
    isSupported = runtimeHandlers.some(
      ({ name, features }) => name === "" && features?.userNamespaces === true,
    );
  });
  after(async () => {
    await target.close();
  });

  const options = (usernsOptions: v1.UserNamespaceSent) => ({
    namespaceOptions: { pid: CONTAINER, network: POD, ipc: POD, usernsOptions },
  });
  const podWith = (usernsOptions: v1.UserNamespaceSent) => ({
    linux: { securityContext: options(usernsOptions) },
  });

  test("a pod's processes have the mapping that was asked for, and files of the image their owners", async (t) => {
    if (!isSupported) return t.skip(unsupported);
    const userns = { mode: POD, uids: [mapping], gids: [mapping] };
    await target.withPod(podWith(userns), async (pod) => {
      const script =
        "cat /proc/self/uid_map /proc/self/gid_map; stat -c %u:%g /bin/busybox; touch /mine && stat -c %u /mine";
      const seen = await target.ask(pod, security(options(userns)), script);
      assert.match(seen, /^\s*0\s+100000\s+65536\n\s*0\s+100000\s+65536\n0:0\n0\n$/);
    });
  });

  test("a pod in the host's user namespace has the host's mapping", async () => {
    await target.withPod(podWith({ mode: NODE }), async (pod) => {
      const seen = await target.ask(pod, security(options({ mode: NODE })), "cat /proc/self/uid_map");
      assert.equal(seen, fs.readFileSync("/proc/self/uid_map", "utf8"));
    });
  });

  const wrong: [string, v1.UserNamespaceSent][] = [
    ["two mappings", { mode: POD, uids: [mapping, mapping], gids: [mapping, mapping] }],
    [
      "no mapping for 0",
      { mode: POD, uids: [{ ...mapping, containerId: 1 }], gids: [{ ...mapping, containerId: 1 }] },
    ],
    ["one for each container", { mode: CONTAINER }],
    ["that of another container", { mode: TARGET }],
  ];
  for (const [name, userns] of wrong)
    test(`refused: ${name}`, async (t) => {
      if (!isSupported) return t.skip(unsupported);
      const before = await target.sandboxIds();
      await assert.rejects(target.runPod(podWith(userns)));
      assert.deepEqual(await target.sandboxIds(), before);
    });

  test("every metric of a pod has a descriptor with as many label keys as it has values", async () => {
    const { descriptors } = await target.runtime.listMetricDescriptors({});
    assert.ok(descriptors.length > 0);
    await target.withPod({}, async (pod) => {
      await target.startSleeping(pod);
      const { podMetrics } = await target.runtime.listPodSandboxMetrics({});
      const ours = podMetrics.find(({ podSandboxId }) => podSandboxId === pod.id);
      const metrics = [
        ...(ours?.metrics ?? []),
        ...(ours?.containerMetrics ?? []).flatMap(({ metrics }) => metrics),
      ];
      assert.ok(metrics.length > 0);
      for (const { name, labelValues } of metrics) {
        const descriptor = descriptors.find((one) => one.name === name);
        assert.equal(labelValues.length, descriptor?.labelKeys.length, name);
      }
    });
  });
});

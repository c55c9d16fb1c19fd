// The same for pods that have a user namespace and containers with images for volumes: more is made for them, and
// nothing more may be left.
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { startNode, type TestNode, type TestPod } from "../support/node.ts";
import { requires } from "../support/requires.ts";

const needs = requires("root", "overlay", "user-namespaces", "package:busybox-static");
const ids = [{ hostId: 1_000_000, containerId: 0, length: 65_536 }];
const { POD, CONTAINER } = v1.NamespaceMode;
const linux = {
  securityContext: {
    namespaceOptions: { pid: CONTAINER, usernsOptions: { mode: POD, uids: ids, gids: ids } },
  },
};

async function startPod(node: TestNode): Promise<{ pod: TestPod; containerId: string }> {
  const pod = await node.runPod("crash", { more: { linux } });
  const mounts = [
    { containerPath: "/image", image: { image: node.image }, readonly: true },
    { containerPath: "/part", image: { image: node.image }, imageSubPath: "etc", readonly: true },
    { containerPath: "/log", hostPath: node.daemon.directory, uidMappings: ids, gidMappings: ids },
  ];
  const more = { linux, mounts };
  const containerId = await pod.create({ name: "main", command: ["sleep", "1000"], more });
  await node.runtime.startContainer({ containerId });
  return { pod, containerId };
}

async function assertRuns(node: TestNode, containerId: string): Promise<void> {
  const script = "stat -c %u /bin/busybox /image/bin/busybox /part/passwd /log /data && touch /data/x /new";
  const cmd = ["sh", "-c", script];
  const { stdout, stderr } = await node.runtime.execSync({ containerId, cmd, timeout: toInt64(20n) });
  assert.equal(Buffer.concat([stdout, stderr]).toString(), "0\n0\n0\n0\n0\n");
}

const starting = [
  "run-sandbox/pause-started",
  "run-sandbox/shm-mounted",
  "create-container/intent",
  "create-container/launched",
];
for (const name of starting)
  test(`a kill at ${name}: the next daemon starts the same pod with its user namespace`, needs, async () => {
    const node = await startNode({}, { Volumes: { "/data": {} } });
    try {
      await node.daemon.restart({ CRICKET_FAILPOINT: `${name}:kill` });
      await assert.rejects(startPod(node));
      await node.daemon.ended();
      await node.daemon.start();
      const { pod, containerId } = await startPod(node);
      await assertRuns(node, containerId);
      await pod.remove();
    } finally {
      await node.close();
    }
  });

test("a kill while a container is removed: its volumes go all the same", needs, async () => {
  const node = await startNode({}, { Volumes: { "/data": {} } });
  try {
    await node.daemon.restart({ CRICKET_FAILPOINT: "remove-container/stopped:kill" });
    const { pod, containerId } = await startPod(node);
    const layers = join(node.daemon.stateRoot, "containers");
    assert.ok(existsSync(join(layers, containerId, "volumes/0")));
    await assert.rejects(node.runtime.removeContainer({ containerId }));
    await node.daemon.ended();
    await node.daemon.start();
    await pod.remove();
    assert.deepEqual(
      readdirSync(layers).filter((name) => !name.startsWith(".")),
      [],
    );
  } finally {
    await node.close();
  }
});

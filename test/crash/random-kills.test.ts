// The daemon killed at moments that nobody chose, while several clients run pods: whatever it was doing, it comes back,
// everything can be removed, and nothing is left.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { RpcError } from "../../cri-api/client.ts";
import { toInt64 } from "../../cri-api/int64.ts";
import { startNode, untilExited, type TestNode } from "../support/node.ts";
import { requires } from "../support/requires.ts";

const kills = Number(process.env["CRICKET_TEST_KILLS"] ?? 6);
const clients = 3;

describe(
  "a daemon that is killed at any moment",
  requires("root", "overlay", "package:busybox-static"),
  () => {
    let node: TestNode;
    let isOver = false;

    before(async () => {
      node = await startNode();
    });
    after(async () => {
      await node.close();
    });

    /** One pod's life. */
    const live = async (name: string): Promise<void> => {
      const pod = await node.runPod(name, { hostNetwork: randomInt(3) === 0 });
      const containerId = await pod.start({ name: "main", command: ["sleep", "1000"] });
      const cmd = ["sh", "-c", "echo hello"];
      await node.runtime.execSync({ containerId, cmd, timeout: toInt64(10n) });
      await node.runtime.stopContainer({ containerId, timeout: toInt64(0n) });
      await node.runtime.removeContainer({ containerId });
      await pod.remove();
    };

    /** Runs pods until told to stop; calls may only fail as they do when the daemon is not there, or was not. */
    const runPods = async (client: number): Promise<void> => {
      for (let round = 0; !isOver; round++)
        try {
          await live(`pod-${client}-${round}`);
        } catch (error) {
          assert.ok(error instanceof RpcError, String(error));
          assert.match(
            error.status,
            /^(UNAVAILABLE|CANCELLED|NOT_FOUND|FAILED_PRECONDITION)$/,
            error.message,
          );
          await delay(20);
        }
    };

    test("comes back, and everything it had made can be removed", async () => {
      const running = Array.from({ length: clients }, (_, client) => runPods(client));
      const failed = Promise.all(running);
      for (let kill = 0; kill < kills; kill++) {
        await Promise.race([delay(randomInt(50, 600)), failed]);
        await node.daemon.kill();
        await node.daemon.start();
      }
      isOver = true;
      await failed;
      const { containers } = await node.runtime.listContainers({});
      for (const { id } of containers) await node.runtime.containerStatus({ containerId: id });
      await node.daemon.removeAllPods();
      assert.deepEqual((await node.runtime.listContainers({})).containers, []);
      const pod = await node.runPod("afterwards");
      const containerId = await pod.start({ name: "main", command: ["true"] });
      assert.equal((await untilExited(node, containerId)).exitCode, 0);
      await pod.remove();
    });
  },
);

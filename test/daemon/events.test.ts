// GetContainerEvents over the real socket.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { fromInt64, toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { RpcError } from "../../cri-api/client.ts";
import { startNode, untilExited, type TestNode } from "../support/node.ts";
import { requires } from "../support/requires.ts";

const { CONTAINER_CREATED_EVENT, CONTAINER_STARTED_EVENT, CONTAINER_STOPPED_EVENT, CONTAINER_DELETED_EVENT } =
  v1.ContainerEventType;
const names = new Map<number, string>([
  [CONTAINER_CREATED_EVENT, "created"],
  [CONTAINER_STARTED_EVENT, "started"],
  [CONTAINER_STOPPED_EVENT, "stopped"],
  [CONTAINER_DELETED_EVENT, "deleted"],
]);

/** Collects events until `isLast` says so. */
async function collect(
  node: TestNode,
  work: () => Promise<void>,
  isLast: (event: v1.ContainerEventResponse) => boolean,
): Promise<v1.ContainerEventResponse[]> {
  const seen: v1.ContainerEventResponse[] = [];
  const controller = new AbortController();
  const stream = node.runtime.getContainerEvents({}, { signal: controller.signal, deadlineMs: 20_000 });
  const reading = (async (): Promise<void> => {
    for await (const event of stream) {
      seen.push(event);
      if (isLast(event)) break;
    }
  })();
  // On the same connection: once this is answered, the daemon has the subscription.
  await node.runtime.version({});
  await work();
  await reading;
  controller.abort();
  return seen;
}

const brief = (events: readonly v1.ContainerEventResponse[], known: Record<string, string>): string[] =>
  events.map(
    ({ containerId, containerEventType }) =>
      `${known[containerId] ?? "?"} ${names.get(containerEventType) ?? "?"}`,
  );

describe("events of a node", requires("root", "overlay", "package:busybox-static"), () => {
  let node: TestNode;

  before(async () => {
    node = await startNode();
  });
  after(async () => {
    await node.close();
  });

  test("a pod's life is told in order, with pod and containers as they were", async () => {
    const ids: Record<string, string> = {};
    const events = await collect(
      node,
      async () => {
        const pod = await node.runPod("told");
        ids[pod.id] = "pod";
        const containerId = await pod.start({ name: "main", command: ["sleep", "1000"] });
        ids[containerId] = "main";
        await node.runtime.stopContainer({ containerId, timeout: toInt64(0n) });
        await node.runtime.removeContainer({ containerId });
        await pod.remove();
      },
      (event) => ids[event.containerId] === "pod" && event.containerEventType === CONTAINER_DELETED_EVENT,
    );
    assert.deepEqual(brief(events, ids), [
      "pod created",
      "pod started",
      "main created",
      "main started",
      "main stopped",
      "main deleted",
      "pod stopped",
      "pod deleted",
    ]);
    const { CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_EXITED } = v1.ContainerState;
    assert.deepEqual(
      events.map(({ containersStatuses }) => containersStatuses.map(({ state }) => state)),
      [[], [], [CONTAINER_CREATED], [CONTAINER_RUNNING], [CONTAINER_EXITED], [], [], []],
    );
    const { SANDBOX_READY, SANDBOX_NOTREADY } = v1.PodSandboxState;
    assert.deepEqual(
      events.map(({ podSandboxStatus }) => podSandboxStatus?.state),
      [...Array<number>(6).fill(SANDBOX_READY), SANDBOX_NOTREADY, SANDBOX_NOTREADY],
    );
    for (const { podSandboxStatus } of events) {
      assert.equal(podSandboxStatus?.metadata?.name, "told");
      assert.notEqual(podSandboxStatus.network?.ip, "");
    }
    const times = events.map(({ createdAt }) => fromInt64(createdAt));
    assert.deepEqual(
      times.toSorted((a, b) => (a < b ? -1 : 1)),
      times,
    );
    assert.equal(new Set(times).size, times.length);
  });

  test("a container that ends at once is told to have started before it stopped", async () => {
    const ids: Record<string, string> = {};
    const pod = await node.runPod("short");
    const count = 10;
    let stopped = 0;
    const events = await collect(
      node,
      async () => {
        for (let index = 0; index < count; index++) {
          const containerId = await pod.start({ name: `c${index}`, command: ["true"] });
          ids[containerId] = `c${index}`;
          const status = await untilExited(node, containerId);
          assert.ok(fromInt64(status.startedAt) <= fromInt64(status.finishedAt));
          assert.notEqual(fromInt64(status.startedAt), 0n);
        }
      },
      ({ containerEventType }) => containerEventType === CONTAINER_STOPPED_EVENT && ++stopped === count,
    );
    const expected = Array.from({ length: count }, (_, index) =>
      ["created", "started", "stopped"].map((change) => `c${index} ${change}`),
    ).flat();
    assert.deepEqual(brief(events, ids), expected);
    await pod.remove();
  });

  test("a pod whose pause is killed is told to have stopped, once", async () => {
    const ids: Record<string, string> = {};
    const pod = await node.runPod("killed");
    ids[pod.id] = "pod";
    const { info } = await node.runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true });
    const { pid } = JSON.parse(info["info"] ?? "{}") as { pid: number };
    const events = await collect(
      node,
      async () => {
        process.kill(pid, "SIGKILL");
        const deadline = Date.now() + 10_000;
        for (;;) {
          const { status } = await node.runtime.podSandboxStatus({ podSandboxId: pod.id });
          if (status?.state === v1.PodSandboxState.SANDBOX_NOTREADY) break;
          assert.ok(Date.now() < deadline, "the pod stays ready");
        }
        await pod.remove();
      },
      ({ containerEventType }) => containerEventType === CONTAINER_DELETED_EVENT,
    );
    assert.deepEqual(brief(events, ids), ["pod stopped", "pod deleted"]);
  });

  test("PodSandboxStatus has the containers and a time after that of earlier events", async () => {
    let last = 0n;
    const pod = await node.runPod("stamped");
    await collect(
      node,
      async () => {
        await pod.start({ name: "main", command: ["sleep", "1000"] });
      },
      ({ createdAt, containerEventType }) => {
        last = fromInt64(createdAt);
        return containerEventType === CONTAINER_STARTED_EVENT;
      },
    );
    const status = await node.runtime.podSandboxStatus({ podSandboxId: pod.id });
    assert.ok(fromInt64(status.timestamp) > last);
    assert.deepEqual(
      status.containersStatuses.map(({ metadata, state }) => [metadata?.name, state]),
      [["main", v1.ContainerState.CONTAINER_RUNNING]],
    );
    await pod.remove();
  });

  test("a run that fails is not told", async () => {
    const pod = await node.runPod("present");
    const ids: Record<string, string> = { [pod.id]: "pod" };
    const events = await collect(
      node,
      async () => {
        const config = node.podConfig("absent");
        // The kernel refuses it when everything else is there already.
        Object.assign(config.linux ?? {}, { sysctls: { "kernel.shmmax": "no number" } });
        await assert.rejects(node.runtime.runPodSandbox({ config }), RpcError);
        await pod.remove();
      },
      ({ containerEventType }) => containerEventType === CONTAINER_DELETED_EVENT,
    );
    assert.deepEqual(brief(events, ids), ["pod stopped", "pod deleted"]);
  });

  test("subscribers that do not read do not hold the daemon up, which ends their calls when it stops", async () => {
    const streams = Array.from({ length: 3 }, () =>
      node.runtime.getContainerEvents({})[Symbol.asyncIterator](),
    );
    const waiting = streams.map(async (stream) => {
      await stream.next();
    });
    const pod = await node.runPod("unread");
    await Promise.all(waiting);
    await pod.remove();
    const started = Date.now();
    await node.daemon.restart();
    assert.ok(Date.now() - started < 20_000);
    await assert.rejects(async () => {
      for (;;) if ((await streams[0]?.next())?.done === true) throw new Error("ended without a status");
    }, RpcError);
  });
});

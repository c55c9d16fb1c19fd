// The list calls that answer in several messages, against those that answer once.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { RpcError } from "../../cri-api/client.ts";
import { toInt64 } from "../../cri-api/int64.ts";
import { startNode, type TestNode } from "../support/node.ts";
import { requires } from "../support/requires.ts";

async function all<Message, Item>(
  stream: AsyncIterable<Message>,
  itemsOf: (message: Message) => readonly Item[],
): Promise<{ items: Item[]; messages: number }> {
  const items: Item[] = [];
  let messages = 0;
  for await (const message of stream) {
    items.push(...itemsOf(message));
    messages++;
  }
  return { items, messages };
}

const byText = <Item>(items: readonly Item[]): string[] => items.map((item) => JSON.stringify(item)).sort();

describe("streamed lists", requires("root", "overlay", "package:busybox-static"), () => {
  let node: TestNode;

  before(async () => {
    node = await startNode();
    // Long annotations: three of them do not fit into one message of the stream.
    const annotations = { long: "x".repeat(100_000) };
    for (const name of ["one", "two", "three"]) {
      const pod = await node.runPod(name, { more: { annotations } });
      await pod.start({ name: "main", command: ["sleep", "1000"], more: { annotations } });
    }
  });
  after(async () => {
    await node.close();
  });

  test("StreamPodSandboxes has what ListPodSandbox has, in messages of bounded size", async () => {
    const { items, messages } = await all(
      node.runtime.streamPodSandboxes({}),
      ({ podSandboxes }) => podSandboxes,
    );
    assert.deepEqual(byText(items), byText((await node.runtime.listPodSandbox({})).items));
    assert.equal(messages, 2);
  });

  test("StreamContainers has what ListContainers has, in messages of bounded size", async () => {
    const { items, messages } = await all(node.runtime.streamContainers({}), ({ containers }) => containers);
    assert.deepEqual(byText(items), byText((await node.runtime.listContainers({})).containers));
    assert.equal(messages, 2);
  });

  test("the streams go by the filters of the lists", async () => {
    const [first] = (await node.runtime.listPodSandbox({})).items;
    assert.ok(first !== undefined);
    const filter = { id: first.id.slice(0, 13) };
    const found = await all(node.runtime.streamPodSandboxes({ filter }), ({ podSandboxes }) => podSandboxes);
    assert.deepEqual(
      found.items.map(({ id }) => id),
      [first.id],
    );
    const none = await all(
      node.runtime.streamContainers({ filter: { id: "0000" } }),
      ({ containers }) => containers,
    );
    assert.deepEqual(none, { items: [], messages: 0 });
    await assert.rejects(
      all(
        node.runtime.streamContainers({ filter: { state: { state: 17 } } }),
        ({ containers }) => containers,
      ),
      (error) => error instanceof RpcError && error.status === "INVALID_ARGUMENT",
    );
  });

  test("StreamContainerStats and StreamPodSandboxStats have all of what runs", async () => {
    const containers = await all(
      node.runtime.streamContainerStats({}),
      ({ containerStats }) => containerStats,
    );
    assert.equal(containers.items.length, 3);
    for (const { cpu, memory } of containers.items) assert.ok(cpu && memory);
    const pods = await all(node.runtime.streamPodSandboxStats({}), ({ podSandboxStats }) => podSandboxStats);
    assert.deepEqual(pods.items.map(({ attributes }) => attributes?.metadata?.name ?? "").sort(), [
      "one",
      "three",
      "two",
    ]);
  });

  test("StreamPodSandboxMetrics has every ready pod", async () => {
    const { items } = await all(
      node.runtime.streamPodSandboxMetrics({}),
      ({ podSandboxMetrics }) => podSandboxMetrics,
    );
    assert.equal(items.length, 3);
    for (const { metrics, containerMetrics } of items)
      assert.ok(metrics.length > 0 && containerMetrics.length === 1);
  });

  test("StreamImages has what ListImages has", async () => {
    const { image } = node.daemon.client;
    const { items } = await all(image.streamImages({}), ({ images }) => images);
    assert.deepEqual(byText(items), byText((await image.listImages({})).images));
    const wanted = { image: { image: node.image } };
    const one = await all(image.streamImages({ filter: wanted }), ({ images }) => images);
    assert.equal(one.items.length, 1);
    const none = await all(
      image.streamImages({ filter: { image: { image: "localhost/none:1" } } }),
      ({ images }) => images,
    );
    assert.equal(none.items.length, 0);
  });

  test("a client that goes in the middle of a stream leaves the daemon well", async () => {
    for await (const _ of node.runtime.streamContainers({})) break;
    const controller = new AbortController();
    const stream = node.runtime.streamContainers({}, { signal: controller.signal });
    controller.abort();
    await assert.rejects(
      all(stream, ({ containers }) => containers),
      RpcError,
    );
    const [container] = (await node.runtime.listContainers({})).containers;
    const cmd = ["true"];
    const done = await node.runtime.execSync({
      containerId: container?.id ?? "",
      cmd,
      timeout: toInt64(10n),
    });
    assert.equal(done.exitCode, 0);
  });
});

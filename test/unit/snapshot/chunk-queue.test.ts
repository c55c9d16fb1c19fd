import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ChunkQueue } from "../../../src/snapshot/chunk-queue.ts";

const bytes = (value: number): Uint8Array => Uint8Array.of(value);

describe("ChunkQueue", () => {
  test("hands chunks over in order and says when each is used", async () => {
    const used: number[] = [];
    const queue = new ChunkQueue((chunk) => used.push(chunk[0] ?? -1));
    queue.push(bytes(1));
    setImmediate(() => {
      queue.push(bytes(2));
      queue.end();
    });
    const seen: number[] = [];
    for await (const chunk of queue) {
      assert.deepEqual(used, seen);
      seen.push(chunk[0] ?? -1);
    }
    assert.deepEqual(
      [seen, used],
      [
        [1, 2],
        [1, 2],
      ],
    );
  });

  test("fails at once, without the chunks that wait", async () => {
    const queue = new ChunkQueue();
    queue.push(bytes(1));
    queue.fail(new Error("gone"));
    queue.end();
    await assert.rejects(async () => {
      for await (const chunk of queue) assert.fail(String(chunk));
    }, /gone/);
  });
});

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CricketError } from "../../../src/base/errors.ts";
import type { LayerSource } from "../../../src/snapshot/layer-store.ts";
import { sourceBytes } from "../../../src/snapshot/source-bytes.ts";

function source(sizeBytes: number, bytes: AsyncIterable<Uint8Array>): LayerSource {
  const signal = new AbortController().signal;
  return { blobDigest: "sha256:x", sizeBytes, compression: "none", diffId: "sha256:y", bytes, signal };
}

async function* chunks(...sizes: number[]): AsyncGenerator<Uint8Array> {
  for (const size of sizes) yield new Uint8Array(size);
}

async function count(from: LayerSource, signal = from.signal): Promise<number> {
  let total = 0;
  for await (const chunk of sourceBytes(from, signal)) total += chunk.length;
  return total;
}

describe("sourceBytes()", () => {
  test("passes on what has the announced length", async () => {
    assert.equal(await count(source(6, chunks(1, 2, 3))), 6);
    assert.equal(await count(source(0, chunks())), 0);
  });

  test("stops at the first byte too many", async () => {
    let asked = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        asked++;
        yield new Uint8Array(10);
      }
    }
    await assert.rejects(count(source(25, endless())), {
      code: "failed-precondition",
      message: "blob sha256:x has more than 25 bytes",
    });
    assert.equal(asked, 3);
  });

  test("rejects a short blob", async () => {
    await assert.rejects(count(source(7, chunks(1, 2, 3))), {
      message: "blob sha256:x has 6 instead of 7 bytes",
    });
  });

  test("ends a source that stalls when the signal fires", async () => {
    const abort = new AbortController();
    const stalled: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }),
    };
    const counting = count(source(5, stalled), abort.signal);
    abort.abort();
    await assert.rejects(counting, { code: "cancelled" });
  });

  test("keeps the reason of the signal where it is one of ours", async () => {
    const reason = new CricketError("unavailable", "registry stalls");
    await assert.rejects(count(source(5, chunks(5)), AbortSignal.abort(reason)), (error) => error === reason);
  });
});

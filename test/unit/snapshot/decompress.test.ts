import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { decompress, detectCompression } from "../../../src/snapshot/decompress.ts";
import type { LayerCompression } from "../../../src/snapshot/layer-store.ts";
import { ZstdDecompressor } from "../../../src/linux/zstd.ts";
import { tarArchive } from "../../support/tar-archive.ts";

async function* cut(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function all(bytes: Uint8Array, declared: LayerCompression, size = 1000): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of decompress(cut(bytes, size), declared, 4096)) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

const text = Buffer.from("some bytes that repeat ".repeat(5000));

// "hello zstd " 200 times, as the zstd program writes it.
const zstdFrame = Buffer.from("KLUv/QRYlQAAWGhlbGxvIHpzdGQgAQCKsF+8Ui5RGw==", "base64");
const zstdText = "hello zstd ".repeat(200);

function hasZstd(): boolean {
  try {
    new ZstdDecompressor().close();
    return true;
  } catch {
    return false;
  }
}

const failed = (message: RegExp): { code: string; message: RegExp } => ({
  code: "failed-precondition",
  message,
});

describe("decompress()", () => {
  test("reads gzip cut anywhere, and of several members", async () => {
    const members = Buffer.concat([gzipSync(text.subarray(0, 777)), gzipSync(text.subarray(777))]);
    for (const size of [1, 17, 1000, 1_000_000]) assert.deepEqual(await all(members, "gzip", size), text);
  });

  test("passes on what is not compressed", async () => assert.deepEqual(await all(text, "none"), text));

  test("rejects truncated and damaged gzip", async () => {
    const packed = gzipSync(text);
    await assert.rejects(all(packed.subarray(0, -3), "gzip"), failed(/gzip: unexpected end/));
    const damaged = Buffer.from(packed);
    damaged[packed.length - 6] = ~(damaged[packed.length - 6] ?? 0) & 0xff;
    await assert.rejects(all(damaged, "gzip"), failed(/gzip: /));
    await assert.rejects(
      all(Buffer.from("<html>not found</html>"), "gzip"),
      failed(/gzip: incorrect header/),
    );
    await assert.rejects(all(Buffer.alloc(0), "gzip"), failed(/gzip: no data/));
  });

  test("follows the bytes where the media type is wrong", async () => {
    const archive = tarArchive({ name: "f" });
    // However few bytes come first.
    for (const size of [1, 261, 1000]) {
      assert.deepEqual(await all(archive, "gzip", size), archive);
      assert.deepEqual(await all(gzipSync(text), "none", size), text);
      assert.deepEqual(await all(gzipSync(text), "zstd", size), text);
    }
  });

  test("ends its source when the reader stops early", async () => {
    let ended = false;
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield gzipSync(text);
      } finally {
        ended = true;
      }
    }
    for await (const chunk of decompress(source(), "gzip", 4096)) if (chunk.length > 0) break;
    // The source is asked to end when its last chunk has been used up.
    for (let turn = 0; turn < 1000 && !ended; turn++) await new Promise(setImmediate);
    assert.equal(ended, true);
  });

  test("passes on the error of its source", async () => {
    async function* source(): AsyncGenerator<Uint8Array> {
      yield gzipSync(text).subarray(0, 50);
      throw new Error("connection reset");
    }
    await assert.rejects(async () => {
      for await (const chunk of decompress(source(), "gzip", 4096)) assert.ok(chunk);
    }, /connection reset/);
  });

  const zstd = { skip: hasZstd() ? false : "needs zstd in zlib or libzstd.so.1" };

  test("reads zstd frames, skippable ones among them", zstd, async () => {
    const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    const frames = Buffer.concat([skippable, zstdFrame, zstdFrame]);
    for (const size of [1, 7, 10_000])
      assert.equal((await all(frames, "zstd", size)).toString(), zstdText + zstdText);
  });

  test("rejects truncated and damaged zstd", zstd, async () => {
    await assert.rejects(all(zstdFrame.subarray(0, -1), "zstd"), failed(/zstd: unexpected end/));
    await assert.rejects(all(Buffer.from("no zstd at all"), "zstd"), failed(/zstd: /));
  });
});

describe("detectCompression()", () => {
  test("falls back to what was declared", () => {
    for (const declared of ["gzip", "zstd", "none"] as const) {
      assert.equal(detectCompression(Buffer.from("x"), declared), declared);
      assert.equal(detectCompression(Buffer.alloc(600), declared), declared);
    }
  });
});

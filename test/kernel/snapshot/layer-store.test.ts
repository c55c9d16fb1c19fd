import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { CricketError } from "../../../src/base/errors.ts";
import { Log } from "../../../src/base/log.ts";
import { chainIds } from "../../../src/snapshot/chain-id.ts";
import type { LayerSource, StagedLayer } from "../../../src/snapshot/layer-store.ts";
import { openLayerStore, type OpenLayerStore } from "../../../src/snapshot/open-layer-store.ts";
import { requires } from "../../support/requires.ts";
import { sha256, tarArchive, type TestEntry } from "../../support/tar-archive.ts";

async function* cut(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 50_000) yield bytes.subarray(at, at + 50_000);
}

/** A source of a gzip layer with these entries; `change` makes it lie. */
function layer(entries: TestEntry[], change: Partial<LayerSource> = {}): LayerSource {
  const archive = tarArchive(...entries);
  const blob = gzipSync(archive);
  return {
    blobDigest: sha256(blob),
    sizeBytes: blob.length,
    compression: "gzip",
    diffId: sha256(archive),
    bytes: cut(blob),
    signal: new AbortController().signal,
    ...change,
  };
}

// Random, so that the compressed layer is large enough for a worker thread.
const large: TestEntry[] = Array.from({ length: 30 }, (_, i) => ({
  name: `large/${i}`,
  data: randomBytes(100_000),
}));
const small: TestEntry[] = [{ name: "etc/file", data: "content", mode: 0o600 }];
const escape: TestEntry[] = [{ name: "../escape", data: "x" }];

describe("the layer store", requires("root"), () => {
  let root = "";
  let store: OpenLayerStore;
  const log = new Log({ level: "error" });
  const open = async (): Promise<void> => {
    store = await openLayerStore({ root, log });
  };
  beforeEach(async () => {
    root = join(mkdtempSync("/var/lib/cricket-layers-"), "layers");
    await open();
  });
  afterEach(async () => {
    await store.close();
    rmSync(join(root, ".."), { recursive: true });
  });

  const commit = async (source: LayerSource): Promise<string> => {
    const staged = await store.ingest(source);
    await staged.commit(staged.diffId);
    return staged.diffId;
  };
  const assertEmpty = async (): Promise<void> => {
    await store.idle();
    assert.deepEqual(readdirSync(root).toSorted(), [".staging", ".trash"]);
    for (const name of readdirSync(root)) assert.deepEqual(readdirSync(join(root, name)), [], name);
    assert.deepEqual(store.list(), []);
  };

  for (const [size, entries] of Object.entries({ small, large })) {
    test(`publishes a ${size} layer by its commit and not before`, async () => {
      const staged = await store.ingest(layer(entries));
      assert.deepEqual(store.list(), []);
      const [chainId] = chainIds([staged.diffId]) as [string];
      assert.equal(store.has(chainId), false);
      assert.throws(() => store.path(chainId), { code: "not-found" });
      await staged.commit(chainId);
      assert.deepEqual(store.list(), [chainId]);
      assert.deepEqual(store.usage(chainId), staged.usage);
      const { name, data } = entries[0] as { name: string; data: string | Buffer };
      assert.deepEqual(readFileSync(join(store.path(chainId), name)), Buffer.from(data));
    });

    test(`leaves nothing of a ${size} layer that is not what was announced`, async () => {
      const other = `sha256:${"0".repeat(64)}`;
      const good = layer(entries);
      const cases: [Partial<LayerSource>, RegExp][] = [
        [{ blobDigest: other }, /layer sha256:0+: blob has digest sha256:/],
        [{ diffId: other }, /diff id is sha256:[0-9a-f]+ and not sha256:0+/],
        [{ sizeBytes: good.sizeBytes - 1 }, /has more than \d+ bytes/],
        [{ sizeBytes: good.sizeBytes + 1 }, /has \d+ instead of \d+ bytes/],
        [{ bytes: cut(randomBytes(good.sizeBytes)) }, /gzip: incorrect header check/],
      ];
      for (const [change, message] of cases)
        await assert.rejects(store.ingest(layer(entries, change)), { code: "failed-precondition", message });
      await assertEmpty();
    });

    test(`ends with the error of the source of a ${size} layer`, async () => {
      const good = layer(entries);
      async function* broken(): AsyncGenerator<Uint8Array> {
        for await (const chunk of good.bytes) yield chunk.subarray(0, 100);
        throw new CricketError("unavailable", "connection reset");
      }
      await assert.rejects(store.ingest({ ...good, bytes: broken() }), {
        code: "unavailable",
        message: /connection reset/,
      });
      await assertEmpty();
    });

    test(`stops at once when the pull of a ${size} layer is cancelled`, async () => {
      const abort = new AbortController();
      const good = layer(entries);
      async function* stalled(): AsyncGenerator<Uint8Array> {
        yield* cut(gzipSync(tarArchive(...entries)).subarray(0, -100));
        setImmediate(() => abort.abort());
        await new Promise(() => {});
      }
      const ingest = store.ingest({ ...good, bytes: stalled(), signal: abort.signal });
      await assert.rejects(ingest, { code: "cancelled" });
      await assertEmpty();
    });
  }

  test("ends a hostile archive although its source stalls", async () => {
    for (const entries of [escape, [...escape, ...large]]) {
      const archive = tarArchive(...entries);
      async function* stalled(): AsyncGenerator<Uint8Array> {
        yield archive.subarray(0, -1024);
        await new Promise(() => {});
      }
      const source = layer(entries, { bytes: stalled(), compression: "none", sizeBytes: archive.length });
      await assert.rejects(store.ingest(source), { message: /"\.\.\/escape": leads out of the layer/ });
    }
    await assertEmpty();
  });

  test("takes uncompressed layers and wrong media types", async () => {
    const archive = tarArchive(...small);
    const plain = { bytes: cut(archive), blobDigest: sha256(archive), sizeBytes: archive.length };
    await commit(layer(small, { ...plain, compression: "none" }));
    await store.remove(sha256(archive));
    await commit(layer(small, { ...plain, bytes: cut(archive), compression: "gzip" }));
    assert.equal(store.has(sha256(archive)), true);
  });

  test("keeps one of two copies that were pulled at the same time", async () => {
    const staged = await Promise.all([store.ingest(layer(small)), store.ingest(layer(small))]);
    const [first, second] = staged as [StagedLayer, StagedLayer];
    await first.commit(first.diffId);
    await second.commit(second.diffId);
    await second.discard();
    assert.deepEqual(store.list(), [first.diffId]);
    assert.ok(existsSync(join(store.path(first.diffId), "etc/file")));
    await store.remove(first.diffId);
    await assertEmpty();
  });

  test("unpacks many layers side by side", async () => {
    const sources = Array.from({ length: 8 }, (_, i) =>
      layer([{ name: `f${i}`, data: randomBytes(100_000 * (i + 1)) }]),
    );
    const ids = await Promise.all(sources.map(commit));
    assert.deepEqual(store.list().toSorted(), ids.toSorted());
  });

  test("discards a staged layer", async () => {
    const staged = await store.ingest(layer(small));
    await staged.discard();
    await staged.discard();
    await assert.rejects(staged.commit(staged.diffId), { code: "failed-precondition" });
    await assertEmpty();
  });

  test("removes a layer at once, and an unknown one too", async () => {
    const id = await commit(layer(large));
    await store.remove(id);
    assert.equal(store.has(id), false);
    assert.equal(existsSync(join(root, id.slice(7))), false);
    await store.remove(id);
    await assert.rejects(store.remove("../etc"), { code: "invalid-argument" });
    await assertEmpty();
  });

  test("still has a layer that it could not take away", async () => {
    const id = await commit(layer(small));
    await store.idle();
    const trash = join(root, ".trash");
    rmdirSync(trash);
    writeFileSync(trash, "in the way");
    await assert.rejects(store.remove(id), /ENOTDIR/);
    assert.equal(store.has(id), true);
    assert.ok(existsSync(join(store.path(id), "etc/file")));
    rmSync(trash);
    mkdirSync(trash);
    await store.remove(id);
    await assertEmpty();
  });

  test("gives directories that the archive implies what lower layers say of them", async () => {
    const base = await commit(
      layer([
        { name: "tmp/", type: "5", mode: 0o1777, mtime: 1234 },
        { name: "srv/", type: "5", mode: 0o700, uid: 33, gid: 34 },
      ]),
    );
    const middle = await commit(layer([{ name: ".wh.srv" }]));
    const entries = [
      { name: "tmp/x", data: "x" },
      { name: "srv/x", data: "x" },
      { name: "new/x", data: "x" },
    ];
    const staged = await store.ingest(layer(entries));
    const [, , top] = chainIds([base, middle, staged.diffId]) as [string, string, string];
    await staged.commit(top, [middle, base]);
    const modes = ["tmp", "srv", "new"].map((name) => lstatSync(join(store.path(top), name)).mode & 0o7777);
    assert.deepEqual(modes, [0o1777, 0o755, 0o755]);
    assert.equal(lstatSync(join(store.path(top), "tmp")).mtimeMs, 1_234_000);
  });

  test("is the same after a restart", async () => {
    const id = await commit(layer(large));
    const usage = store.usage(id);
    await store.close();
    await open();
    assert.deepEqual(store.list(), [id]);
    assert.deepEqual(store.usage(id), usage);
  });

  test("drops what a killed daemon has left", async () => {
    const kept = await commit(layer(small));
    const swept = await commit(layer(large));
    await store.close();
    const half = join(root, "f".repeat(64));
    mkdirSync(join(half, "diff"), { recursive: true });
    const cutRecord = join(root, "e".repeat(64));
    mkdirSync(join(cutRecord, "diff"), { recursive: true });
    writeFileSync(join(cutRecord, "layer.json"), "{");
    mkdirSync(join(root, ".staging", "abc", "diff", "deep"), { recursive: true });
    mkdirSync(join(root, ".trash", "def", "deep"), { recursive: true });
    await open();
    assert.deepEqual(store.list().toSorted(), [kept, swept].toSorted());
    await store.sweep(new Set([kept]));
    assert.deepEqual(store.list(), [kept]);
    await store.idle();
    assert.deepEqual(readdirSync(root).toSorted(), [".staging", ".trash", kept.slice(7)].toSorted());
    assert.deepEqual(readdirSync(join(root, ".staging")), []);
    assert.deepEqual(readdirSync(join(root, ".trash")), []);
  });

  test("does not sweep what is being pulled", async () => {
    const staged = await store.ingest(layer(small));
    await store.sweep(new Set());
    await staged.commit(staged.diffId);
    assert.ok(existsSync(join(store.path(staged.diffId), "etc/file")));
  });

  test("keeps no descriptor of layers that came, failed and went", async () => {
    const descriptors = (): number => readdirSync("/proc/self/fd").length;
    await commit(layer(small));
    await store.idle();
    const before = descriptors();
    for (let turn = 0; turn < 5; turn++) {
      await assert.rejects(store.ingest(layer([...small, ...escape])));
      await assert.rejects(store.ingest(layer(small, { diffId: `sha256:${"0".repeat(64)}` })));
      await store.remove(await commit(layer(small)));
    }
    await store.idle();
    assert.equal(descriptors(), before);
  });

  test("lets nobody but root in", () => assert.equal(lstatSync(root).mode & 0o777, 0o700));
});

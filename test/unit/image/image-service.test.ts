import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { describe, test, type TestContext } from "node:test";
import type { FakeRegistry } from "../../support/fake-registry.ts";
import { buildImage, buildLayer, type Layer, type TestImage } from "../../support/test-image.ts";
import { openTestImages, type TestImages } from "../../support/test-images.ts";

const layer = (content: string): Promise<Layer> => buildLayer([{ name: "file", content }]);

interface Pulled {
  images: TestImages;
  registry: FakeRegistry;
  image: TestImage;
  reference: string;
}

async function pulled(t: TestContext, ...contents: string[]): Promise<Pulled> {
  const images = await openTestImages(t);
  const registry = await images.registry();
  const image = buildImage(await Promise.all(contents.map(layer)));
  const reference = registry.add("app", "1", image);
  await images.service.pull({ reference });
  return { images, registry, image, reference };
}

const none: ReadonlySet<string> = new Set();

describe("remove()", () => {
  test("by one tag removes the image with all its names and content", async (t) => {
    const { images, registry, image, reference } = await pulled(t, "a", "b");
    const other = registry.add("other/name", "2", image);
    await images.service.pull({ reference: other });
    await images.service.remove(reference, none);
    assert.deepEqual(images.service.list(), []);
    assert.equal(images.service.status(other), undefined);
    assert.deepEqual(images.remains(), []);
    assert.deepEqual((await images.reopen()).list(), []);
  });

  for (const name of ["id", "prefix", "digest"] as const)
    test(`takes the ${name}`, async (t) => {
      const { images, image, registry } = await pulled(t, "a");
      const names = {
        id: image.imageId,
        prefix: image.imageId.slice(7, 19),
        digest: `${registry.address}/app@${image.digest}`,
      };
      await images.service.remove(names[name], none);
      assert.deepEqual(images.remains(), []);
    });

  test("succeeds when there is nothing to remove", async (t) => {
    const { images, reference } = await pulled(t, "a");
    await images.service.remove("nothing/like/it", none);
    await images.service.remove("not a reference", none);
    await images.service.remove("", none);
    assert.equal(images.service.list().length, 1);
    await Promise.all([images.service.remove(reference, none), images.service.remove(reference, none)]);
    await images.service.remove(reference, none);
    assert.deepEqual(images.remains(), []);
  });

  test("refuses while a container uses the image", async (t) => {
    const { images, image, reference } = await pulled(t, "a");
    await assert.rejects(images.service.remove(reference, new Set([image.imageId])), {
      code: "failed-precondition",
      message: /image sha256:[0-9a-f]+ is in use by a container/,
    });
    const release = images.service.hold(image.imageId);
    const second = images.service.hold(image.imageId);
    release();
    release();
    await assert.rejects(images.service.remove(reference, none), { code: "failed-precondition" });
    second();
    await images.service.remove(reference, none);
    assert.deepEqual(images.service.list(), []);
  });

  test("lets nobody start to use what it is removing", async (t) => {
    const { images, image, reference } = await pulled(t, "a");
    const removal = images.service.remove(reference, none);
    assert.throws(() => images.service.hold(image.imageId), { code: "not-found" });
    assert.throws(() => images.service.resolveForContainer(image.imageId), { code: "not-found" });
    await removal;
  });

  test("leaves layers that other images have", async (t) => {
    const { images, registry, reference } = await pulled(t, "base", "a");
    const other = registry.add("other", "1", buildImage([await layer("base"), await layer("b")]));
    await images.service.pull({ reference: other });
    await images.service.remove(reference, none);
    assert.equal(images.layers.list().length, 2);
    assert.ok(images.service.resolveForContainer(other).chainIds.every((id) => images.layers.has(id)));
  });

  test("does not take the layers of a pull that is under way", async (t) => {
    const { images, registry, reference } = await pulled(t, "base");
    const other = registry.add("other", "1", buildImage([await layer("base"), await layer("top")]));
    let removal: Promise<void> | undefined;
    const pull = images.service.pull({
      reference: other,
      onProgress(event) {
        if (event.phase === "layer" && event.layer.state === "exists")
          removal ??= images.service.remove(reference, none);
      },
    });
    await pull;
    await removal;
    assert.deepEqual(
      images.service.list().map(({ repoTags }) => repoTags),
      [[other]],
    );
    assert.equal(images.layers.list().length, 2);
  });

  test("and a pull of the same image at the same time leave all of it or nothing", async (t) => {
    const { images, reference } = await pulled(t, "a", "b");
    for (let round = 0; round < 8; round++) {
      await Promise.all([images.service.remove(reference, none), images.service.pull({ reference })]);
      const found = images.service.status(reference);
      if (found === undefined) assert.deepEqual(images.remains(), []);
      else
        assert.ok(
          images.service.resolveForContainer(reference).chainIds.every((id) => images.layers.has(id)),
        );
      if (found !== undefined) assert.notEqual(await images.service.describe(reference), undefined);
      assert.equal((await images.reopen()).list().length, found === undefined ? 0 : 1);
    }
  });
});

describe("open()", () => {
  test("sweeps what no record reaches", async (t) => {
    const { images, reference } = await pulled(t, "a");
    const before = images.remains().toSorted();
    const blobs = path.join(images.root, "blobs/sha256");
    fs.writeFileSync(path.join(blobs, "f".repeat(64)), "stray");
    fs.writeFileSync(path.join(blobs, `${"e".repeat(64)}.0123.tmp`), "half");
    fs.writeFileSync(path.join(images.root, "images", "x.json.0123.tmp"), "half");
    const staged = await images.layers.ingest({
      blobDigest: (await layer("stray")).digest,
      sizeBytes: (await layer("stray")).blob.length,
      compression: "gzip",
      diffId: (await layer("stray")).diffId,
      bytes: [(await layer("stray")).blob] as unknown as AsyncIterable<Uint8Array>,
      signal: new AbortController().signal,
    });
    await staged.commit((await layer("stray")).diffId);
    const again = await images.reopen();
    assert.deepEqual(images.remains().toSorted(), before);
    assert.notEqual(again.status(reference), undefined);
  });

  test("drops an image whose layer or blob is gone, says so, and can pull it again", async (t) => {
    for (const breakIt of [
      ({ images }: Pulled): Promise<void> => images.layers.remove(images.layers.list()[0] ?? ""),
      async ({ images, image }: Pulled): Promise<void> =>
        fs.rmSync(path.join(images.root, "blobs/sha256", image.imageId.slice(7))),
    ]) {
      const scene = await pulled(t, "a", "b");
      await breakIt(scene);
      const again = await scene.images.reopen();
      assert.deepEqual(again.list(), []);
      assert.deepEqual(scene.images.remains(), []);
      assert.ok(scene.images.log.some((line) => line.includes("dropped")));
      await again.pull({ reference: scene.reference });
      assert.equal(again.list().length, 1);
    }
  });

  for (const [what, text] of [
    ["is cut off", '{"version":1,"id":"sha256:'],
    ["has another version", '{"version":99}'],
    ["is no object", "null"],
    [
      "belongs to another id",
      JSON.stringify({ version: 1, id: `sha256:${"1".repeat(64)}`, chainIds: [], repoTags: [] }),
    ],
  ] as const)
    test(`drops a record that ${what}`, async (t) => {
      const { images, image } = await pulled(t, "a");
      fs.writeFileSync(path.join(images.root, "images", `${image.imageId.slice(7)}.json`), text);
      assert.deepEqual((await images.reopen()).list(), []);
      assert.deepEqual(images.remains(), []);
    });

  test("refuses to start on a broken configuration", async (t) => {
    const images = await openTestImages(t);
    images.configure("[[registry]]\nlocation = 5\n");
    await assert.rejects(images.reopen(), {
      code: "invalid-argument",
      message: /registries\.conf\.d\/0\.conf: registry/,
    });
  });
});

describe("list() and status()", () => {
  test("report pinned images", async (t) => {
    const { images, registry, image, reference } = await pulled(t, "a");
    const isPinned = async (pinned: string[]): Promise<boolean | undefined> =>
      (await images.reopen({ pinned })).list()[0]?.pinned;
    assert.equal(await isPinned([]), false);
    assert.equal(await isPinned([reference]), true);
    assert.equal(await isPinned([`${registry.address}/*`]), true);
    assert.equal(await isPinned([`${registry.address}/app@${image.digest}`]), true);
    assert.equal(await isPinned(["*/app:*"]), true);
    assert.equal(await isPinned([`*${reference.slice(4)}`]), true);
    assert.equal(await isPinned([`${registry.address}/app`, "other*", "*other", "*other*"]), false);
  });

  test("take the shortest prefix of three characters that means one image", async (t) => {
    const { images, image } = await pulled(t, "a");
    const hex = image.imageId.slice(7);
    assert.equal(images.service.status(hex.slice(0, 3))?.id, image.imageId);
    assert.equal(images.service.status(hex.slice(0, 2)), undefined);
    assert.equal(images.service.status(`sha256:${hex.slice(0, 3)}`)?.id, image.imageId);
  });

  test("refuse a prefix that means two images", async (t) => {
    const { images, registry } = await pulled(t, "a");
    // The pigeonhole principle: 17 images have two ids with the same first character, so make prefixes that short.
    const ids: string[] = [];
    for (let n = 0; ids.length === 0 || new Set(ids.map((id) => id.slice(7, 10))).size === ids.length; n++)
      ids.push(buildImage([], { config: { User: String(n) } }).imageId);
    const twins = ids.filter((id) => id.slice(7, 10) === ids.at(-1)?.slice(7, 10));
    for (const id of twins) {
      const image = buildImage([], { config: { User: String(ids.indexOf(id)) } });
      await images.service.pull({ reference: registry.add(`n${ids.indexOf(id)}`, "1", image) });
    }
    assert.throws(() => images.service.status(twins[0]?.slice(7, 10) ?? ""), {
      code: "invalid-argument",
      message: /image id [0-9a-f]{3} is ambiguous/,
    });
    assert.equal(images.service.status(twins[0] ?? "")?.id, twins[0]);
  });

  test("know nothing of texts that name nothing", async (t) => {
    const { images } = await pulled(t, "a");
    for (const text of [
      "",
      "x",
      "no such",
      "sha256:",
      `sha256:${"0".repeat(64)}`,
      "0".repeat(64),
      "a/../b",
      "\0",
    ])
      assert.equal(images.service.status(text), undefined, JSON.stringify(text));
    assert.throws(() => images.service.resolveForContainer("absent"), {
      code: "not-found",
      message: 'image "absent" is not on this node',
    });
  });
});

describe("resolveForContainer()", () => {
  test("gives layers bottom up, the config, and names of the repository that was asked for", async (t) => {
    const { images, registry, image, reference } = await pulled(t, "a", "b");
    const resolved = images.service.resolveForContainer(image.imageId);
    assert.deepEqual(resolved.chainIds, images.layers.committed);
    assert.equal(resolved.imageId, image.imageId);
    assert.equal(resolved.repoTag, reference);
    assert.equal(resolved.repoDigest, `${registry.address}/app@${image.digest}`);
    assert.deepEqual(resolved.config.cmd, []);
  });
});

test("fsInfo() counts each layer once, and changes with pulls and removals", async (t) => {
  const { images, registry, reference } = await pulled(t, "base", "a");
  const first = images.service.fsInfo();
  assert.equal(first.images.mountpoint, path.join(images.root, "layers"));
  assert.deepEqual(first.containers, { mountpoint: first.images.mountpoint, usedBytes: 0, inodesUsed: 0 });
  assert.equal(first.images.inodesUsed, 4);
  const other = buildImage([await layer("base"), await layer("b")]);
  await images.service.pull({ reference: registry.add("other", "1", other) });
  assert.equal(images.service.fsInfo().images.inodesUsed, 7);
  await images.service.remove(other.imageId, none);
  assert.deepEqual(images.service.fsInfo(), first);
  await images.service.remove(reference, none);
  assert.equal(images.service.fsInfo().images.usedBytes, 0);
  const counted = await images.reopen({ containerUsage: () => ({ bytes: 5, inodes: 2 }) });
  assert.deepEqual(counted.fsInfo().containers, {
    mountpoint: first.images.mountpoint,
    usedBytes: 5,
    inodesUsed: 2,
  });
});

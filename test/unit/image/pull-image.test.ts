import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { chainIds } from "../../../src/snapshot/chain-id.ts";
import type { PullProgress } from "../../../src/image/pull-progress.ts";
import { isBlob } from "../../support/fake-registry.ts";
import { buildImage, buildIndex, buildLayer, type Layer } from "../../support/test-image.ts";
import { openTestImages } from "../../support/test-images.ts";

const layer = (content: string): Promise<Layer> => buildLayer([{ name: "file", content }]);

describe("pull()", () => {
  test("makes an image that id, prefix, tag and digest name alike", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const layers = [await layer("a"), await layer("b"), await layer("c")];
    const image = buildImage(layers, { config: { User: "7:8" } });
    const reference = registry.add("team/app", "v1", image);
    const { imageId } = await images.service.pull({ reference });

    assert.equal(imageId, image.imageId);
    assert.deepEqual(images.layers.committed, chainIds(layers.map(({ diffId }) => diffId)));
    const hex = imageId.slice(7);
    const repoDigest = `${registry.address}/team/app@${image.digest}`;
    const [view] = images.service.list();
    assert.ok((view?.sizeBytes ?? 0) > 0);
    assert.deepEqual(view, {
      id: imageId,
      repoTags: [reference],
      repoDigests: [repoDigest],
      sizeBytes: view?.sizeBytes,
      uid: 7,
      username: "",
      pinned: false,
      annotations: {},
    });
    for (const name of [imageId, hex, hex.slice(0, 12), `sha256:${hex.slice(0, 5)}`, reference, repoDigest])
      assert.deepEqual(images.service.status(name), view, name);
    assert.equal(images.service.status("sha256:abc"), undefined);
    assert.equal(images.service.status(`${registry.address}/team/app`), undefined);
    assert.deepEqual(images.service.list("nothing"), []);
    assert.equal(JSON.parse((await images.service.describe(hex)) ?? "").config.User, "7:8");
  });

  test("chooses the platform of an index and keeps the digest that the tag names", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const mine = buildImage([await layer("mine")], { flavor: "docker" });
    const theirs = buildImage([await layer("theirs")], { flavor: "docker", architecture: "s390x" });
    const arch = process.arch === "x64" ? "amd64" : process.arch;
    const index = buildIndex({ s390x: theirs, [arch]: mine }, "docker");
    const reference = registry.add("app", "1", index);
    assert.equal((await images.service.pull({ reference })).imageId, mine.imageId);
    const view = images.service.status(reference);
    assert.deepEqual(view?.repoDigests, [`${registry.address}/app@${index.digest}`]);
    assert.deepEqual(images.service.status(`${registry.address}/app@${mine.digest}`), view);
    assert.equal(images.service.status(`${registry.address}/app@${theirs.digest}`), undefined);
  });

  test("gives no tag to a pull by digest, even with a tag beside it", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const image = buildImage([await layer("a")]);
    registry.add("app", "1", image);
    await images.service.pull({ reference: `${registry.address}/app:9.9@${image.digest}` });
    assert.deepEqual(images.service.list()[0]?.repoTags, []);
    assert.deepEqual(images.service.list()[0]?.repoDigests, [`${registry.address}/app@${image.digest}`]);
    assert.equal(images.service.status(`${registry.address}/app@${image.digest}`)?.id, image.imageId);
    assert.equal(
      images.service.resolveForContainer(image.imageId).repoTag,
      `${registry.address}/app@${image.digest}`,
    );
  });

  test("survives a restart", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", buildImage([await layer("a")]));
    await images.service.pull({ reference });
    const again = await images.reopen();
    assert.deepEqual(again.list(), images.service.list());
    assert.equal(again.resolveForContainer(reference).repoTag, reference);
  });

  test("moves a tag to the image that has it now", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const [old, young] = [buildImage([await layer("a")]), buildImage([await layer("b")])];
    const reference = registry.add("app", "1", old);
    await images.service.pull({ reference });
    registry.add("app", "1", young);
    await images.service.pull({ reference });
    for (const service of [images.service, await images.reopen()]) {
      assert.equal(service.status(reference)?.id, young.imageId);
      assert.deepEqual(service.status(old.imageId)?.repoTags, []);
      assert.deepEqual(service.status(old.imageId)?.repoDigests, [`${registry.address}/app@${old.digest}`]);
    }
  });

  test("lets the later pull win where a crash left a tag on two records", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const [old, young] = [buildImage([await layer("a")]), buildImage([await layer("b")])];
    const reference = registry.add("app", "1", old);
    await images.service.pull({ reference });
    const oldRecord = path.join(images.root, "images", `${old.imageId.slice(7)}.json`);
    const before = fs.readFileSync(oldRecord);
    registry.add("app", "1", young);
    await images.service.pull({ reference });
    fs.writeFileSync(oldRecord, before);
    const again = await images.reopen();
    assert.equal(again.status(reference)?.id, young.imageId);
    assert.deepEqual(again.status(old.imageId)?.repoTags, []);
  });

  test("takes an image with the same layer twice, and one without layers", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const same = await layer("a");
    await images.service.pull({
      reference: registry.add("twice", "1", buildImage([same, same, await layer("b")])),
    });
    await images.service.pull({ reference: registry.add("none", "1", buildImage([])) });
    assert.equal(images.service.list().length, 2);
    assert.ok(images.service.list().every(({ sizeBytes }) => sizeBytes > 0));
  });

  test("skips layers that are here, and fetches those that pulls share once", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const [base, a, b] = [await layer("base"), await layer("a"), await layer("b")];
    const references = [a, b].map((top, n) => registry.add(`app${n}`, "1", buildImage([base, top])));
    await Promise.all(references.map((reference) => images.service.pull({ reference })));
    assert.deepEqual(images.layers.ingested.toSorted(), [base, a, b].map(({ digest }) => digest).toSorted());
    await images.service.pull({
      reference: registry.add("app2", "1", buildImage([base, a], { config: { User: "1" } })),
    });
    assert.equal(images.layers.ingested.length, 3);
  });

  test("asks the registry again for a known image, and fetches nothing of it", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const image = buildImage([await layer("a")]);
    const first = registry.add("app", "1", image);
    const second = registry.add("other", "2", image);
    await images.service.pull({ reference: first });
    registry.seen.length = 0;
    await images.service.pull({ reference: second });
    assert.deepEqual(
      registry.seen.map(({ path: seen }) => seen),
      ["/v2/other/manifests/2"],
    );
    assert.deepEqual(images.service.status(first)?.repoTags.toSorted(), [first, second].toSorted());
    assert.equal(images.service.status(first)?.repoDigests.length, 2);
    assert.equal(
      images.service.resolveForContainer(second).repoDigest,
      `${registry.address}/other@${image.digest}`,
    );
  });

  test("is known by the name that its container's author gave, if it still has it", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const image = buildImage([await layer("a")]);
    const names = ["one/app", "two/app"].map((repository) => registry.add(repository, "1", image));
    for (const reference of names) await images.service.pull({ reference });
    const namesFor = (userSpecified: string) => {
      const { repoTag, repoDigest } = images.service.resolveForContainer(image.imageId, userSpecified);
      return [repoTag, repoDigest];
    };
    for (const [index, repository] of ["one/app", "two/app"].entries())
      assert.deepEqual(namesFor(names[index] ?? ""), [
        names[index],
        `${registry.address}/${repository}@${image.digest}`,
      ]);
    const { repoTag } = images.service.resolveForContainer(image.imageId);
    for (const unknown of ["", `${registry.address}/one/app:2`, "Not//a reference"])
      assert.equal(namesFor(unknown)[0], repoTag);
  });

  test("shares one execution among callers with the same credentials", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", buildImage([await layer("a")]));
    const results = await Promise.all([1, 2, 3].map(() => images.service.pull({ reference })));
    assert.equal(new Set(results.map(({ imageId }) => imageId)).size, 1);
    assert.equal(registry.seen.filter(({ path: seen }) => seen.endsWith("/manifests/1")).length, 1);
  });

  test("tells each layer's progress in order", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const layers = [await layer("a"), await layer("b")];
    const events: PullProgress[] = [];
    const onProgress = (progress: PullProgress): unknown => events.push(progress);
    const { imageId } = await images.service.pull({
      reference: registry.add("app", "1", buildImage(layers)),
      onProgress,
    });
    assert.equal(events[0]?.phase, "resolving");
    assert.deepEqual(events.at(-1), { phase: "done", imageId });
    for (const [index, { digest, blob }] of layers.entries()) {
      const states = events.flatMap((event) =>
        event.phase === "layer" && event.layer.index === index ? [event.layer] : [],
      );
      assert.deepEqual(
        states.map(({ state }) => state),
        ["waiting", "downloading", "unpacked", "done"],
      );
      assert.deepEqual(states.at(-1), {
        blobDigest: digest,
        index,
        doneBytes: blob.length,
        totalBytes: blob.length,
        state: "done",
      });
    }
  });

  test("tells a caller that joins late where the layers stand", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const a = await layer("a");
    const reference = registry.add("app", "1", buildImage([a]));
    const late: PullProgress[] = [];
    let joined: Promise<unknown> = Promise.resolve();
    const onProgress = (progress: PullProgress): void => {
      if (progress.phase === "layer" && progress.layer.state === "downloading")
        joined = images.service.pull({ reference, onProgress: (event) => late.push(event) });
    };
    await images.service.pull({ reference, onProgress });
    await joined;
    const [first] = late;
    assert.deepEqual(first?.phase === "layers" ? first.layers.map(({ state }) => state) : first, [
      "downloading",
    ]);
    assert.equal(late.at(-1)?.phase, "done");
  });

  for (const [directory, what] of [
    ["blobs/sha256", /write blob sha256:[0-9a-f]{64}: ENOENT/],
    ["images", /write record of image sha256:[0-9a-f]{64}: ENOENT/],
  ] as const)
    test(`says what could not be written to ${directory}`, async (t) => {
      const images = await openTestImages(t);
      const registry = await images.registry();
      const reference = registry.add("app", "1", buildImage([await layer("a")]));
      fs.rmdirSync(path.join(images.root, directory));
      await assert.rejects(images.service.pull({ reference }), { message: what });
      assert.deepEqual(images.layers.list(), []);
    });

  test("uses the search registries for a short name, in order", async (t) => {
    const images = await openTestImages(t);
    const [first, second] = [await images.registry(), await images.registry()];
    images.configure(`unqualified-search-registries = ["${first.address}", "${second.address}"]`);
    const image = buildImage([await layer("a")]);
    const reference = second.add("tool", "latest", image);
    await images.service.pull({ reference: "tool" });
    assert.deepEqual(images.service.status("tool")?.repoTags, [reference]);
    assert.deepEqual(images.service.status("tool:latest")?.repoTags, [reference]);
    await assert.rejects(images.service.pull({ reference: "absent" }), { code: "not-found" });
  });
});

describe("pull() that is aborted", () => {
  test("leaves nothing, and the retry works", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const [a, b] = [await layer("a"), await layer("b")];
    const reference = registry.add("app", "1", buildImage([a, b]));
    const stop = new AbortController();
    let isHanging = true;
    registry.behave((request, response) => {
      if (!isHanging || !isBlob(request, b.digest)) return false;
      response.writeHead(200, { "content-length": b.blob.length });
      response.write(b.blob.subarray(0, 10), () => setImmediate(() => stop.abort()));
      return true;
    });
    await assert.rejects(images.service.pull({ reference, signal: stop.signal }), { code: "cancelled" });
    assert.deepEqual(images.remains(), []);
    isHanging = false;
    await images.service.pull({ reference });
    assert.equal(images.service.list().length, 1);
  });

  test("goes on for the other callers", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const a = await layer("a");
    const reference = registry.add("app", "1", buildImage([a]));
    const stop = new AbortController();
    let release: () => void = () => {};
    registry.behave((request, response) => {
      if (!isBlob(request, a.digest)) return false;
      release = (): unknown => response.end(a.blob);
      stop.abort();
      return true;
    });
    const left = images.service.pull({ reference, signal: stop.signal });
    const stayed = images.service.pull({ reference });
    await assert.rejects(left, { code: "cancelled" });
    release();
    assert.equal((await stayed).imageId, images.service.list()[0]?.id);
  });

  test("ends when all callers leave in one turn", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const a = await layer("a");
    const reference = registry.add("app", "1", buildImage([a]));
    const stop = new AbortController();
    const closed = new Promise<void>((resolve) => {
      registry.behave((request, response) => {
        if (!isBlob(request, a.digest)) return false;
        response.writeHead(200, { "content-length": a.blob.length });
        response.write(a.blob.subarray(0, 5), () => setImmediate(() => stop.abort()));
        response.once("close", resolve);
        return true;
      });
    });
    const pulls = [1, 2, 3].map(() => images.service.pull({ reference, signal: stop.signal }));
    for (const pull of pulls) await assert.rejects(pull, { code: "cancelled" });
    await closed;
    assert.deepEqual(images.remains(), []);
  });

  test("is not started by a caller that has gone already", async (t) => {
    const images = await openTestImages(t);
    const reason = AbortSignal.abort(new DOMException("too late", "TimeoutError"));
    await assert.rejects(images.service.pull({ reference: "busybox", signal: reason }), {
      code: "deadline-exceeded",
    });
  });

  test("hands a layer over to another pull that waits for it", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const [base, top] = [await layer("base"), await layer("top")];
    const first = registry.add("first", "1", buildImage([base]));
    const second = registry.add("second", "1", buildImage([base, top]));
    const stop = new AbortController();
    let stalled: () => void = () => {};
    const firstStalls = new Promise<void>((resolve) => {
      stalled = resolve;
    });
    registry.behave((request, response) => {
      if (!isBlob(request, base.digest) || stop.signal.aborted) return false;
      stalled();
      response.writeHead(200, { "content-length": base.blob.length });
      response.write(base.blob.subarray(0, 5));
      return true;
    });
    registry.behave((request) => {
      if (isBlob(request, top.digest)) setImmediate(() => stop.abort());
      return false;
    });
    const aborted = assert.rejects(images.service.pull({ reference: first, signal: stop.signal }), {
      code: "cancelled",
    });
    // Only then: the pull that comes first is the one that fetches the layer.
    await firstStalls;
    const other = images.service.pull({ reference: second });
    await aborted;
    await other;
    assert.deepEqual(
      images.service.list().map(({ repoTags }) => repoTags),
      [[second]],
    );
    assert.equal(images.layers.list().length, 2);
  });
});

describe("pull() under a policy", () => {
  test("asks nobody for an image that the policy rejects", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    fs.writeFileSync(path.join(images.root, "policy.json"), '{"default":[{"type":"reject"}]}');
    await assert.rejects(images.service.pull({ reference: `${registry.address}/app` }), {
      code: "unknown",
      message: /^SignatureValidationFailed: pull .*\/app:latest: /,
    });
    assert.deepEqual(registry.seen, []);
  });
});

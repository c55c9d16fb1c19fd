// ImageService: names, ids and what removal means, as the kubelet's image manager relies on them.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { after, before, describe, test } from "node:test";
import { fromInt64 } from "../../cri-api/int64.ts";
import { RpcError } from "../../cri-api/client.ts";
import { buildImage, buildLayer, type RunConfig, type TestImage } from "../support/test-image.ts";
import { configWith, needs, openTarget, type Target } from "./target.ts";

/** An image that no other test has, with a file that says which. */
async function smallImage(content: string, config: RunConfig = {}): Promise<TestImage> {
  return buildImage([await buildLayer([{ name: "content", content }])], {
    config: { Cmd: ["/x"], ...config },
  });
}

describe("conformance: images", needs, () => {
  let target: Target;

  before(async () => {
    target = await openTarget();
  });
  after(async () => {
    await target.close();
  });

  const statusOf = async (image: string) => (await target.images.imageStatus({ image: { image } })).image;
  const listed = async (image: string) =>
    (await target.images.listImages({ filter: { image: { image } } })).images;
  const remove = (image: string) => target.images.removeImage({ image: { image } });

  test("an image is there from the end of its pull to its removal, by tag, without a tag and by digest", async () => {
    const image = await smallImage("comes and goes");
    const { address } = target.registry;
    const tagged = target.registry.add("test/comes", "latest", image);
    for (const reference of [tagged, `${address}/test/comes`, `${address}/test/comes@${image.digest}`]) {
      await target.images.pullImage({ image: { image: reference } });
      const [found] = await listed(reference);
      assert.equal(found?.id, (await statusOf(reference))?.id, reference);
      assert.ok(fromInt64(found?.size) > 0n);
      await remove(reference);
      assert.deepEqual(await listed(reference), []);
      assert.equal((await statusOf(reference)) ?? undefined, undefined);
    }
  });

  test("tags and digests are told in full, of each image its own", async () => {
    const images = await Promise.all(["one", "two", "three"].map((name) => smallImage(name)));
    const references = images.map((image, number) =>
      target.registry.add(`test/of-three-${number}`, "1", image),
    );
    for (const image of references) await target.images.pullImage({ image: { image } });
    const all = (await target.images.listImages({})).images;
    for (const [number, reference] of references.entries()) {
      const found = all.filter(({ repoTags }) => repoTags.includes(reference));
      assert.equal(found.length, 1);
      const repository = reference.slice(0, reference.lastIndexOf(":"));
      assert.deepEqual(found[0]?.repoDigests, [`${repository}@${images[number]!.digest}`]);
    }
    assert.equal(
      new Set(references.map((reference) => all.find((i) => i.repoTags.includes(reference))?.id)).size,
      3,
    );
    for (const reference of references) await remove(reference);
  });

  test("three tags are one image, and removing it by one of them removes all", async () => {
    const image = await smallImage("three tags");
    const references = ["1", "2", "3"].map((tag) => target.registry.add("test/tags", tag, image));
    for (const reference of references) await target.images.pullImage({ image: { image: reference } });
    const [found, ...others] = await listed(references[0]!);
    assert.equal(others.length, 0);
    assert.deepEqual([...(found?.repoTags ?? [])].sort(), references);
    await remove(references[1]!);
    for (const reference of references) assert.equal((await statusOf(reference)) ?? undefined, undefined);
  });

  test("an image that came from two registries is one image, and goes from both", async () => {
    const image = await smallImage("two registries");
    const references = [target.registry, target.mirror].map((registry) =>
      registry.add("test/two", "1", image),
    );
    const refs: string[] = [];
    for (const reference of references)
      refs.push((await target.images.pullImage({ image: { image: reference } })).imageRef);
    assert.equal(refs[0], refs[1]);
    assert.deepEqual([...((await statusOf(references[0]!))?.repoTags ?? [])].sort(), references.toSorted());
    await remove(references[0]!);
    assert.equal((await statusOf(references[1]!)) ?? undefined, undefined);
  });

  test("every kind of reference leads to the same status", async () => {
    const image = await smallImage("references");
    const tagged = target.registry.add("test/kinds", "latest", image);
    const { imageRef } = await target.images.pullImage({ image: { image: tagged } });
    const repository = `${target.registry.address}/test/kinds`;
    const kinds = [tagged, repository, `${repository}@${image.digest}`, imageRef, image.imageId];
    const answers = await Promise.all(kinds.map((kind) => statusOf(kind)));
    for (const [number, answer] of answers.entries()) assert.deepEqual(answer, answers[0], kinds[number]);
    assert.deepEqual(answers[0]?.repoTags, [tagged]);
    await remove(imageRef);
  });

  test("one id names an image in every call, containers included", async () => {
    const { imageRef } = await target.images.pullImage({ image: { image: target.image } });
    const id = (await statusOf(target.image))?.id;
    assert.equal(imageRef, id);
    await target.withPod({}, async (pod) => {
      const config = configWith(
        { image: imageRef, userSpecifiedImage: target.image },
        { command: ["sleep", "9"] },
      );
      const sandboxConfig = pod.config;
      const request = { podSandboxId: pod.id, config, sandboxConfig };
      const { containerId } = await target.runtime.createContainer(request);
      const { containers } = await target.runtime.listContainers({ filter: { id: containerId } });
      assert.equal(containers[0]?.imageId, id);
      const { status } = await target.runtime.containerStatus({ containerId });
      assert.equal(status?.imageId, id);
      assert.match(status?.imageRef ?? "", /sha256:/);
      assert.notEqual(status?.image?.image ?? "", "");
    });
  });

  test("the user of an image is told as a number or as a name", async () => {
    const users: [string, bigint | undefined, string][] = [
      ["1002", 1002n, ""],
      ["1003:1004", 1003n, ""],
      ["www-data", undefined, "www-data"],
      ["www-data:100", undefined, "www-data"],
    ];
    for (const [user, uid, username] of users) {
      const image = await target.pull("test/user", "1", await smallImage(user, { User: user }));
      const status = await statusOf(image);
      assert.equal(status?.uid ? fromInt64(status.uid.value) : undefined, uid, user);
      assert.equal(status?.username, username, user);
      await remove(image);
    }
  });

  test("a tag that moves leaves the image it named", async () => {
    const before = await target.pull("test/moving", "1", await smallImage("before"));
    const old = (await statusOf(before))?.id ?? "";
    await target.pull("test/moving", "1", await smallImage("after"));
    assert.notEqual((await statusOf(before))?.id, old);
    assert.deepEqual((await statusOf(old))?.repoTags ?? [], []);
    await remove(before);
    await remove(old);
  });

  test("many may remove the same image at once, and one that is not there can be removed", async () => {
    const image = await target.pull("test/at-once", "1", await smallImage("at once"));
    await Promise.all(Array.from({ length: 8 }, () => remove(image)));
    assert.equal((await statusOf(image)) ?? undefined, undefined);
    await remove(image);
    await remove(`sha256:${"0".repeat(64)}`);
  });

  test("a pull from a registry that does not answer ends with its client's deadline", async () => {
    const silent = createServer(() => {}).listen(0, "127.0.0.1");
    await new Promise((resolve) => silent.once("listening", resolve));
    const { port } = silent.address() as { port: number };
    try {
      const request = { image: { image: `127.0.0.1:${port}/test/silent:1` } };
      await assert.rejects(target.images.pullImage(request, { deadlineMs: 500 }), (error) => {
        assert.ok(error instanceof RpcError);
        assert.equal(error.status, "DEADLINE_EXCEEDED");
        return true;
      });
    } finally {
      silent.close();
    }
  });

  test("an image that does not exist is an error, its status none", async () => {
    const image = `${target.registry.address}/test/absent:1`;
    await assert.rejects(target.images.pullImage({ image: { image } }), /test\/absent/);
    assert.equal((await statusOf(image)) ?? undefined, undefined);
  });

  test("the filesystem of images is told with a directory that exists", async () => {
    const { imageFilesystems } = await target.images.imageFsInfo({});
    const [first] = imageFilesystems;
    assert.match(first?.fsId?.mountpoint ?? "", /^\//);
    assert.ok(fromInt64(first?.usedBytes?.value) > 0n);
  });
});

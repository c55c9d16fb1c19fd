// Pulls of what is on the node already, as `imagePullPolicy: Always` makes them with every start of a pod.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { demand, type FakeRegistry } from "../../support/fake-registry.ts";
import { buildImage, buildLayer, type Layer, type TestImage } from "../../support/test-image.ts";
import { openTestImages } from "../../support/test-images.ts";

const layer = (content: string): Promise<Layer> => buildLayer([{ name: "file", content }]);

describe("pull() of a name that is here", () => {
  const manifestPath = "/v2/app/manifests/1";
  const tell = (registry: FakeRegistry, { manifest, mediaType, digest }: TestImage): void =>
    registry.serve(manifestPath, manifest, {
      "content-type": mediaType,
      "docker-content-digest": digest,
    });
  const asked = (registry: FakeRegistry): string[] =>
    registry.seen.splice(0).map(({ method, path: seen }) => `${method} ${seen}`);

  test("asks for the digest alone while it stays the same, and pulls what comes in its place", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const [old, next] = [buildImage([await layer("old")]), buildImage([await layer("next")])];
    const reference = registry.add("app", "1", old);
    tell(registry, old);
    const { imageId } = await images.service.pull({ reference });
    asked(registry);
    assert.deepEqual(await images.service.pull({ reference }), { imageId });
    const byDigest = `${registry.address}/app@${old.digest}`;
    registry.serve(`/v2/app/manifests/${old.digest}`, old.manifest, {
      "docker-content-digest": old.digest,
    });
    assert.deepEqual(await images.service.pull({ reference: byDigest }), { imageId });
    const heads = [manifestPath, `/v2/app/manifests/${old.digest}`].map((path) => `HEAD ${path}`);
    assert.deepEqual(asked(registry), heads);
    registry.add("app", "1", next);
    tell(registry, next);
    assert.equal((await images.service.pull({ reference })).imageId, next.imageId);
    await assert.rejects(images.service.pull({ reference: `${registry.address}/app:2` }), {
      code: "not-found",
    });
  });

  test("fetches the manifest where the registry knows no HEAD, or tells no digest", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const image = buildImage([await layer("a")]);
    const reference = registry.add("app", "1", image);
    await images.service.pull({ reference });
    asked(registry);
    await images.service.pull({ reference });
    registry.behave(({ method }, response) => {
      if (method !== "HEAD") return false;
      response.writeHead(405).end();
      return true;
    });
    await images.service.pull({ reference });
    const both = [`HEAD ${manifestPath}`, `GET ${manifestPath}`];
    assert.deepEqual(asked(registry), [...both, ...both]);
  });

  test("pulls it anew when it is removed meanwhile", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const image = buildImage([await layer("a")]);
    const reference = registry.add("app", "1", image);
    tell(registry, image);
    await images.service.pull({ reference });
    registry.behave(({ method }, response) => {
      if (method !== "HEAD") return false;
      void images.service
        .remove(reference, new Set())
        .then(() => response.writeHead(200, { "docker-content-digest": image.digest }).end());
      return true;
    });
    await images.service.pull({ reference });
    assert.equal(images.service.list().length, 1);
    assert.equal(images.layers.list().length, 1);
  });

  test("is not given to who may not have it", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const image = buildImage([await layer("a")]);
    const reference = registry.add("app", "1", image);
    tell(registry, image);
    await images.service.pull({ reference });
    asked(registry);
    registry.behave(demand("Basic dTpw", "Basic"));
    await assert.rejects(images.service.pull({ reference }), { code: "permission-denied" });
    assert.ok(asked(registry).every((one) => !one.includes("/blobs/")));
  });
});

// Pulls over lines that stall and break, and from several places at once.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import { describe, test } from "node:test";
import { dropBlob, isBlob, sendError } from "../../support/fake-registry.ts";
import { buildImage, buildLayer, type Layer } from "../../support/test-image.ts";
import { openTestImages } from "../../support/test-images.ts";

// Random, so that compressed layers are as long as what is in them.
const text = randomBytes(4500).toString("base64");
const layer = (content: string): Promise<Layer> => buildLayer([{ name: "file", content: content + text }]);
const manifestPath = "/v2/app/manifests/1";

describe("pull() over a bad line", () => {
  for (const [what, respond] of [
    ["that never answers", (): boolean => true],
    [
      "that stops in the middle",
      (response: ServerResponse): boolean => {
        response.writeHead(200, { "content-length": 20_000 });
        return response.write(Buffer.alloc(1000)) || true;
      },
    ],
  ] as const)
    test(`ends on a registry ${what}`, async (t) => {
      const images = await openTestImages(t, { stallTimeoutMs: 400 });
      const registry = await images.registry();
      const a = await buildLayer([{ name: "f", content: text.repeat(10) }], "none");
      const reference = registry.add("app", "1", buildImage([{ ...a, blob: a.blob.subarray(0, 20_000) }]));
      registry.behave((request, response) => isBlob(request, a.digest) && respond(response));
      await assert.rejects(images.service.pull({ reference }), {
        message: /^RegistryUnavailable: .*127\.0\.0\.1:\d+ sent nothing for 400 ms$/,
      });
      assert.deepEqual(images.remains(), []);
    });

  test("ends on a registry that lets a layer drip", async (t) => {
    const images = await openTestImages(t, { stallTimeoutMs: 400 });
    const registry = await images.registry();
    const a = await layer("a");
    const reference = registry.add("app", "1", buildImage([a]));
    registry.behave((request, response) => {
      if (!isBlob(request, a.digest)) return false;
      response.writeHead(200, { "content-length": a.blob.length });
      let sent = 0;
      const drip = setInterval(() => response.write(a.blob.subarray(sent, ++sent)), 50);
      response.on("close", () => clearInterval(drip));
      return true;
    });
    await assert.rejects(images.service.pull({ reference }), {
      message: /^RegistryUnavailable: .*only \d+ bytes came in 400 ms$/,
    });
    assert.deepEqual(images.remains(), []);
  });

  test("goes on with a range where a connection drops", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const a = await layer("a");
    const reference = registry.add("app", "1", buildImage([a]));
    registry.behave(dropBlob(a.digest, a.blob, 1000, 3));
    await images.service.pull({ reference });
    const ranges = registry.seen
      .filter((request) => isBlob(request, a.digest))
      .map(({ headers }) => headers.range);
    assert.deepEqual(ranges, [undefined, "bytes=1000-", "bytes=2000-", "bytes=3000-"]);
  });

  test("starts over where a registry ignores ranges", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const a = await layer("a");
    const reference = registry.add("app", "1", buildImage([a]));
    registry.behave((request, response) => {
      if (!isBlob(request, a.digest)) return false;
      response.end(a.blob);
      return true;
    });
    registry.behave(dropBlob(a.digest, a.blob, 1000, 1));
    await images.service.pull({ reference });
    assert.equal(images.service.list().length, 1);
  });

  test("tries a failing server again", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", buildImage([await layer("a")]));
    let left = 2;
    registry.behave(({ path }, response) => {
      if (path !== manifestPath || left-- <= 0) return false;
      response.writeHead(left === 1 ? 503 : 429);
      response.end();
      return true;
    });
    await images.service.pull({ reference });
    assert.equal(images.service.list().length, 1);
  });

  test("keeps what other images need when a pull fails", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const [base, top] = [await layer("base"), await layer("top")];
    await images.service.pull({ reference: registry.add("good", "1", buildImage([base])) });
    const before = images.remains();
    const bad = registry.add("bad", "1", buildImage([base, top]));
    registry.serve(`/v2/bad/blobs/${top.digest}`, "lie");
    await assert.rejects(images.service.pull({ reference: bad }), { code: "failed-precondition" });
    assert.deepEqual(images.remains(), before);
  });
});

describe("pull() through mirrors", () => {
  test("falls back to the registry when the mirror is down, and names both when all are", async (t) => {
    const images = await openTestImages(t);
    const [mirror, registry] = [await images.registry(), await images.registry()];
    images.configure(
      `[[registry]]\nprefix = "example.com"\nlocation = "${registry.address}"\ninsecure = true\n` +
        `[[registry.mirror]]\nlocation = "${mirror.address}"\ninsecure = true\n`,
    );
    registry.add("app", "1", buildImage([await layer("a")]));
    await mirror.close();
    await images.service.pull({ reference: "example.com/app:1" });
    assert.deepEqual(images.service.list()[0]?.repoTags, ["example.com/app:1"]);
    await registry.close();
    await assert.rejects(images.service.pull({ reference: "example.com/app:1" }), (error: Error) =>
      [/^RegistryUnavailable: /, new RegExp(mirror.address), new RegExp(registry.address)].every((part) =>
        part.test(error.message),
      ),
    );
  });

  test("takes from the registry the layers that a mirror does not have", async (t) => {
    const images = await openTestImages(t);
    const [mirror, registry] = [await images.registry(), await images.registry()];
    images.configure(
      `[[registry]]\nprefix = "example.com"\nlocation = "${registry.address}"\ninsecure = true\n` +
        `[[registry.mirror]]\nlocation = "${mirror.address}/cache"\ninsecure = true\n`,
    );
    const a = await layer("a");
    const image = buildImage([a]);
    registry.add("app", "1", image);
    mirror.add("cache/app", "1", image);
    mirror.behave((request, response) => {
      if (!isBlob(request, a.digest)) return false;
      sendError(response, 404, { code: "BLOB_UNKNOWN", message: "not cached" });
      return true;
    });
    await images.service.pull({ reference: "example.com/app:1" });
    assert.deepEqual(
      registry.seen.filter((request) => request.path !== "/v2/").map(({ path }) => path),
      [`/v2/app/blobs/${a.digest}`],
    );
  });
});

// A registry that is down, slow, lying or hostile ends the pull with a clear error and leaves nothing; the retry works.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { dropBlob, isBlob, sendError, type FakeRegistry } from "../../support/fake-registry.ts";
import {
  buildImage,
  buildIndex,
  buildLayer,
  digestOf,
  type Layer,
  type TestImage,
} from "../../support/test-image.ts";
import { openTestImages } from "../../support/test-images.ts";

// Random, so that compressed layers are as long as what is in them.
const text = randomBytes(4500).toString("base64");
const layer = (content: string): Promise<Layer> => buildLayer([{ name: "file", content: content + text }]);

interface Scene {
  registry: FakeRegistry;
  image: TestImage;
  layers: Layer[];
}

type Failure = [what: string, arrange: (scene: Scene) => void, code: string, message: RegExp];

const manifestPath = "/v2/app/manifests/1";
const ociManifest = { "content-type": "application/vnd.oci.image.manifest.v1+json" };

const changed = (image: TestImage, change: (document: Record<string, unknown>) => void): string => {
  const document = JSON.parse(image.manifest.toString()) as Record<string, unknown>;
  change(document);
  return JSON.stringify(document);
};

const failures: Failure[] = [
  [
    "a layer with another content of the same length",
    ({ registry, layers: [first] }) =>
      registry.serve(`/v2/app/blobs/${first?.digest}`, Buffer.alloc(first?.blob.length ?? 0)),
    "failed-precondition",
    /digest does not match/,
  ],
  [
    "a layer that is shorter than promised",
    ({ registry, layers: [first] }) =>
      registry.serve(`/v2/app/blobs/${first?.digest}`, first?.blob.subarray(1) ?? ""),
    "failed-precondition",
    /the registry has \d+ bytes, the manifest promises \d+/,
  ],
  [
    "a layer that is longer than promised, without a length",
    ({ registry, layers: [first] }) =>
      registry.behave((request, response) => {
        if (!isBlob(request, first?.digest)) return false;
        response.writeHead(200, { "transfer-encoding": "chunked" });
        response.write(first?.blob);
        response.end("more");
        return true;
      }),
    "failed-precondition",
    /the registry has more than \d+ bytes/,
  ],
  [
    "a layer that ends early, without a length",
    ({ registry, layers: [first] }) =>
      registry.behave((request, response) => {
        if (!isBlob(request, first?.digest)) return false;
        response.writeHead(200, { "transfer-encoding": "chunked" });
        response.end(first?.blob.subarray(0, 100));
        return true;
      }),
    "failed-precondition",
    /the registry has 100 bytes/,
  ],
  [
    "a layer that never ends",
    ({ registry, layers: [first] }) =>
      registry.behave((request, response) => {
        if (!isBlob(request, first?.digest)) return false;
        response.writeHead(200);
        const more = (): unknown =>
          !response.destroyed && response.write(Buffer.alloc(65_536), () => setImmediate(more));
        more();
        return true;
      }),
    "failed-precondition",
    /more than/,
  ],
  [
    "a layer that is missing",
    ({ registry, layers: [first] }) =>
      registry.behave((request, response) => {
        if (!isBlob(request, first?.digest)) return false;
        sendError(response, 404, { code: "BLOB_UNKNOWN", message: "gone\nwith the wind" });
        return true;
      }),
    "not-found",
    /blob sha256:[0-9a-f]+ of 127\.0\.0\.1:\d+\/app does not exist: "BLOB_UNKNOWN: gone\\nwith the wind"$/,
  ],
  [
    "a layer whose connection always drops",
    ({ registry, layers: [first] }) =>
      registry.behave(dropBlob(first?.digest ?? "", first?.blob ?? Buffer.alloc(0), 0, 99)),
    "unknown",
    /^RegistryUnavailable: pull /,
  ],
  [
    "a range that was not asked for",
    ({ registry, layers: [first] }) => {
      const { digest, blob } = first ?? { digest: "", blob: Buffer.alloc(0) };
      registry.behave((request, response) => {
        if (!isBlob(request, digest) || request.headers.range === undefined) return false;
        response.writeHead(206, { "content-range": `bytes 0-${blob.length - 1}/${blob.length}` });
        response.end(blob);
        return true;
      });
      registry.behave(dropBlob(digest, blob, 1000, 1));
    },
    "failed-precondition",
    /another range than asked for/,
  ],
  [
    "a manifest that is not there",
    ({ registry }) =>
      registry.behave(({ path }, response) => {
        if (path !== manifestPath) return false;
        sendError(response, 404, { code: "MANIFEST_UNKNOWN", message: "manifest unknown" });
        return true;
      }),
    "not-found",
    /^pull 127\.0\.0\.1:\d+\/app:1: manifest 1 of 127\.0\.0\.1:\d+\/app does not exist: "MANIFEST_UNKNOWN: manifest unknown"$/,
  ],
  [
    "a manifest with another digest than announced",
    ({ registry, image }) =>
      registry.serve(manifestPath, image.manifest, {
        ...ociManifest,
        "docker-content-digest": `sha256:${"0".repeat(64)}`,
      }),
    "failed-precondition",
    /digest is sha256:[0-9a-f]{64}, not sha256:0{64}/,
  ],
  [
    "a manifest beyond 4 MiB",
    ({ registry }) => registry.serve(manifestPath, Buffer.alloc(4 * 1024 * 1024 + 1, " "), ociManifest),
    "resource-exhausted",
    /manifest 1 of .* is larger than 4194304 bytes/,
  ],
  [
    "a manifest and index in one",
    ({ registry, image }) =>
      registry.serve(
        manifestPath,
        changed(image, (document) => (document["manifests"] = [])),
        ociManifest,
      ),
    "failed-precondition",
    /ambiguous/,
  ],
  [
    "a content type that contradicts the manifest",
    ({ registry, image }) =>
      registry.serve(manifestPath, image.manifest, {
        "content-type": "application/vnd.oci.image.index.v1+json",
      }),
    "failed-precondition",
    /calls itself/,
  ],
  [
    "a config of another length",
    ({ registry, image }) =>
      registry.serve(
        manifestPath,
        changed(image, (document) => ((document["config"] as { size: number }).size = 7)),
        ociManifest,
      ),
    "failed-precondition",
    /image config has \d+ bytes, not 7 as promised/,
  ],
  [
    "a config said to be beyond 4 MiB",
    ({ registry, image }) =>
      registry.serve(
        manifestPath,
        changed(image, (document) => ((document["config"] as { size: number }).size = 5_000_000)),
        ociManifest,
      ),
    "resource-exhausted",
    /image config is larger/,
  ],
  [
    "a config with another content",
    ({ registry, image }) => registry.serve(`/v2/app/blobs/${image.imageId}`, "{}"),
    "failed-precondition",
    /digest is/,
  ],
  [
    "a config with fewer diff ids than layers",
    ({ registry, layers }) => {
      const [first] = layers;
      const image = buildImage(layers);
      const other = buildImage(first === undefined ? [] : [first]);
      const config = other.blobs.get(other.imageId) ?? Buffer.alloc(0);
      registry.serve(`/v2/app/blobs/${other.imageId}`, config);
      const manifest = changed(image, (document) => {
        Object.assign(document["config"] as object, { digest: other.imageId, size: config.length });
      });
      registry.serve(manifestPath, manifest, ociManifest);
    },
    "failed-precondition",
    /image config has 1 diff ids for 2 layers/,
  ],
  [
    "a layer that unpacks to something else than the config says",
    ({ registry, layers }) => {
      const lie = layers.map((one, index) =>
        index === 1 ? { ...one, diffId: `sha256:${"3".repeat(64)}` } : one,
      );
      registry.add("app", "1", buildImage(lie));
    },
    "failed-precondition",
    /digest does not match/,
  ],
  [
    "an image for another platform",
    ({ registry, layers }) => void registry.add("app", "1", buildImage(layers, { architecture: "s390x" })),
    "not-found",
    /the image is for linux\/s390x, this node is linux\//,
  ],
  [
    "an index without this platform",
    ({ registry, layers }) => {
      const other = buildImage(layers, { architecture: "s390x" });
      registry.add("app", "1", buildIndex({ s390x: other }));
    },
    "not-found",
    /the image has nothing for linux\//,
  ],
  [
    "an index that names itself",
    ({ registry }) => {
      const type = "application/vnd.oci.image.index.v1+json";
      let inner = JSON.stringify({ schemaVersion: 2, mediaType: type, manifests: [] });
      for (let depth = 0; depth < 6; depth++) {
        const descriptor = { mediaType: type, digest: digestOf(Buffer.from(inner)), size: inner.length };
        registry.serve(`/v2/app/manifests/${descriptor.digest}`, inner, { "content-type": type });
        inner = JSON.stringify({ schemaVersion: 2, mediaType: type, manifests: [descriptor] });
      }
      registry.serve(manifestPath, inner, { "content-type": type });
    },
    "failed-precondition",
    /nested deeper than 3/,
  ],
  [
    "a server that fails for good",
    ({ registry }) =>
      registry.behave(({ path }, response) => {
        if (path !== manifestPath) return false;
        response.writeHead(503);
        response.end("<html>busy</html>");
        return true;
      }),
    "unknown",
    /^RegistryUnavailable: pull 127\.0\.0\.1:\d+\/app:1: manifest 1 of 127\.0\.0\.1:\d+\/app: status 503$/,
  ],
  [
    "redirects without end",
    ({ registry }) =>
      registry.behave(({ path }, response) => {
        if (!path.includes("/manifests/")) return false;
        response.writeHead(307, { location: manifestPath });
        response.end();
        return true;
      }),
    "unknown",
    /RegistryUnavailable: .*redirects more than 5 times/,
  ],
  [
    "a redirect away from http",
    ({ registry }) =>
      registry.behave(({ path }, response) => {
        if (path !== manifestPath) return false;
        response.writeHead(302, { location: "file:///etc/passwd" });
        response.end();
        return true;
      }),
    "failed-precondition",
    /redirect from .* refused: file: is not http/,
  ],
  [
    "an error body without end",
    ({ registry }) =>
      registry.behave(({ path }, response) => {
        if (path !== manifestPath) return false;
        response.writeHead(404);
        const more = (): unknown =>
          !response.destroyed && response.write(Buffer.alloc(65_536), () => setImmediate(more));
        more();
        return true;
      }),
    "not-found",
    /manifest 1 of .* does not exist$/,
  ],
];

describe("pull()", () => {
  for (const [what, arrange, code, message] of failures)
    test(`ends on ${what} and leaves nothing`, async (t) => {
      const images = await openTestImages(t);
      const registry = await images.registry();
      const layers = [await layer("a"), await layer("b")];
      const image = buildImage(layers);
      const reference = registry.add("app", "1", image);
      arrange({ registry, image, layers });
      await assert.rejects(images.service.pull({ reference }), { code, message });
      assert.deepEqual(images.remains(), []);
      assert.deepEqual(images.service.list(), []);
    });

  test("ends on a registry that is down, says so to the kubelet, and works once it is back", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", buildImage([await layer("a")]));
    await registry.close();
    await assert.rejects(images.service.pull({ reference }), {
      code: "unknown",
      message: /^RegistryUnavailable: pull 127\.0\.0\.1:\d+\/app:1: http:\/\/127\.0\.0\.1:\d+: ECONNREFUSED$/,
    });
    assert.deepEqual(images.remains(), []);
  });

  test("does not speak plain http where nothing says insecure", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", buildImage([await layer("a")]));
    images.configure(`[[registry]]\nlocation = "${registry.address}"\n`);
    await assert.rejects(images.service.pull({ reference }), { message: /^RegistryUnavailable: .*https:/ });
    assert.deepEqual(registry.seen, []);
  });
});

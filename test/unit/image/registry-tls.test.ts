import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { demand, isBlob } from "../../support/fake-registry.ts";
import { buildImage, buildLayer } from "../../support/test-image.ts";
import { noAuth, openTestImages, type TestImages } from "../../support/test-images.ts";
import { testCertificate } from "../../support/tls-certificate.ts";

const image = buildImage([await buildLayer([{ name: "f", content: "x" }])]);

function trust(images: TestImages, host: string): void {
  const directory = path.join(images.root, "certs.d", host);
  fs.mkdirSync(directory, { recursive: true });
  fs.writeFileSync(path.join(directory, "ca.crt"), testCertificate);
}

describe("pull() over https", () => {
  test("refuses a certificate that nobody vouches for", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.secureRegistry();
    const reference = registry.add("app", "1", image);
    await assert.rejects(images.service.pull({ reference }), {
      message: /^RegistryUnavailable: .*https:\/\/127\.0\.0\.1:\d+: DEPTH_ZERO_SELF_SIGNED_CERT$/,
    });
    assert.deepEqual(registry.seen, []);
  });

  test("trusts the authorities that certs.d has for this registry, and for no other", async (t) => {
    const images = await openTestImages(t);
    const [trusted, other] = [await images.secureRegistry(), await images.secureRegistry()];
    trust(images, trusted.address);
    await images.service.pull({ reference: trusted.add("app", "1", image) });
    await assert.rejects(images.service.pull({ reference: other.add("app", "1", image) }), {
      code: "unknown",
    });
  });

  test("accepts any certificate where registries.conf says insecure", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.secureRegistry();
    images.configure(`[[registry]]\nlocation = "${registry.address}"\ninsecure = true\n`);
    await images.service.pull({ reference: registry.add("app", "1", image) });
  });

  test("does not follow a redirect to plain http", async (t) => {
    const images = await openTestImages(t);
    const [registry, storage] = [await images.secureRegistry(), await images.registry()];
    trust(images, registry.address);
    const reference = registry.add("app", "1", image);
    storage.add("app", "1", image);
    registry.behave((request, response) => {
      if (!isBlob(request)) return false;
      response.writeHead(307, { location: `http://${storage.address}${request.path}` });
      response.end();
      return true;
    });
    await assert.rejects(images.service.pull({ reference }), {
      message: /redirect from .* refused: it leaves https/,
    });
    assert.deepEqual(storage.seen, []);
  });

  test("does not send a password to a realm in the clear, not even on the same host", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.secureRegistry();
    trust(images, registry.address);
    const reference = registry.add("app", "1", image);
    const thief = await images.registry();
    const realm = `http://${thief.address}/token`;
    registry.behave(demand("Bearer t", `Bearer realm="${realm}"`));
    const auth = { ...noAuth, username: "u", password: "p" };
    await assert.rejects(images.service.pull({ reference, auth }), { code: "permission-denied" });
    assert.deepEqual(thief.seen, []);
  });
});

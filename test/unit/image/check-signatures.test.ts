// Pulls under a policy that asks for signatures: made here as cosign and podman make them.
import assert from "node:assert/strict";
import { generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { digestOf } from "../../../src/image/digest.ts";
import { hostPlatform } from "../../../src/image/manifest.ts";
import type { FakeRegistry } from "../../support/fake-registry.ts";
import { buildImage, buildIndex, buildLayer, type TestImage } from "../../support/test-image.ts";
import { openTestImages, type TestImages } from "../../support/test-images.ts";

const signer = generateKeyPairSync("ec", { namedCurve: "P-256" });
const other = generateKeyPairSync("ec", { namedCurve: "P-256" });
const pem = (key: KeyObject): string => key.export({ type: "spki", format: "pem" }).toString();

interface Signing {
  key?: KeyObject;
  /** As the payload names it; the image's own if not given. */
  digest?: string;
  reference: string;
  mediaType?: string;
  more?: object;
}

/** Puts signatures beside the image with this digest. */
function attach(registry: FakeRegistry, repository: string, digest: string, signings: Signing[]): void {
  const layers = signings.map(({ key = signer.privateKey, reference, mediaType, more, ...given }) => {
    const image = { "docker-manifest-digest": given.digest ?? digest };
    const identity = { "docker-reference": reference };
    const critical = { identity, image, type: "cosign container image signature" };
    const payload = Buffer.from(JSON.stringify({ critical, optional: null, ...more }));
    registry.serve(`/v2/${repository}/blobs/${digestOf(payload)}`, payload);
    const signature = sign(key.asymmetricKeyType === "ed25519" ? null : "sha256", payload, key);
    return {
      mediaType: mediaType ?? "application/vnd.dev.cosign.simplesigning.v1+json",
      digest: digestOf(payload),
      size: payload.length,
      annotations: { "dev.cosignproject.cosign/signature": signature.toString("base64") },
    };
  });
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = JSON.stringify({ schemaVersion: 2, mediaType, config: {}, layers });
  registry.serve(`/v2/${repository}/manifests/sha256-${digest.slice(7)}.sig`, manifest, {
    "content-type": mediaType,
  });
}

function demandSignature(images: TestImages, more: object = {}, key = pem(signer.publicKey)): void {
  const keyData = Buffer.from(key).toString("base64");
  const policy = {
    default: [{ type: "sigstoreSigned", ...("keyPath" in more ? {} : { keyData }), ...more }],
  };
  fs.writeFileSync(path.join(images.root, "policy.json"), JSON.stringify(policy));
}

const someImage = async (): Promise<TestImage> =>
  buildImage([await buildLayer([{ name: "f", content: "x" }])]);

describe("pull() under a policy that asks for a signature", () => {
  test("takes an image that the key has signed, again when it is here already", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const image = await someImage();
    const reference = registry.add("app", "1", image);
    demandSignature(images);
    attach(registry, "app", image.digest, [{ reference, key: other.privateKey }, { reference }]);
    await images.service.pull({ reference });
    await images.service.pull({ reference });
    attach(registry, "app", image.digest, []);
    await assert.rejects(images.service.pull({ reference }), { message: /^SignatureValidationFailed: / });
  });

  for (const [kind, keys] of [
    ["RSA", generateKeyPairSync("rsa", { modulusLength: 2048 })],
    ["Ed25519", generateKeyPairSync("ed25519")],
  ] as const)
    test(`knows signatures by ${kind}, and keys in files`, async (t) => {
      const images = await openTestImages(t);
      const registry = await images.registry();
      const image = await someImage();
      const reference = registry.add("app", "1", image);
      const keyPath = path.join(images.root, "key.pub");
      fs.writeFileSync(keyPath, pem(keys.publicKey));
      demandSignature(images, { keyPath });
      attach(registry, "app", image.digest, [{ reference, key: keys.privateKey }]);
      await images.service.pull({ reference });
    });

  test("takes a signature of the index for the image of this platform, and of the image itself", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const image = await someImage();
    const index = buildIndex({ [hostPlatform().architecture]: image });
    demandSignature(images);
    for (const [tag, digest] of [
      ["1", index.digest],
      ["2", image.digest],
    ] as const) {
      const reference = registry.add(`app${tag}`, tag, index);
      attach(registry, `app${tag}`, digest, [{ reference }]);
      await images.service.pull({ reference });
    }
  });

  const wrong: [string, (image: TestImage, reference: string) => Signing[], RegExp][] = [
    ["nobody has signed", () => [], /it has no signature$/],
    ["another key has signed", (_i, reference) => [{ reference, key: other.privateKey }], /none of the keys/],
    [
      "has the signature of another image",
      (_i, reference) => [{ reference, digest: `sha256:${"a".repeat(64)}` }],
      /a signature is for "sha256:a+"$/,
    ],
    ["was signed under another name", () => [{ reference: "quay.io/other:1" }], /for "quay\.io\/other:1"/],
    [
      "has an attachment that is no signature",
      (_i, reference) => [{ reference, mediaType: "application/vnd.dsse.envelope.v1+json" }],
      /it has no signature$/,
    ],
    [
      "has a signature with a condition that is not known",
      (_i, reference) => [{ reference, more: { expires: 1 } }],
      /other fields than critical, optional/,
    ],
  ];
  for (const [what, signings, message] of wrong)
    test(`refuses an image that ${what}, and leaves nothing`, async (t) => {
      const images = await openTestImages(t);
      const registry = await images.registry();
      const image = await someImage();
      const reference = registry.add("app", "1", image);
      demandSignature(images);
      attach(registry, "app", image.digest, signings(image, reference));
      await assert.rejects(images.service.pull({ reference }), (error: Error & { code: string }) => {
        assert.equal(error.code, "unknown");
        assert.match(error.message, /^SignatureValidationFailed: /);
        assert.match(error.message, message);
        return true;
      });
      assert.deepEqual(images.remains(), []);
      assert.ok(!registry.seen.some(({ path: asked }) => asked.endsWith([...image.blobs.keys()][0] ?? "")));
    });

  test("refuses an image where nothing lies beside it, and says of a key that it cannot be used", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", await someImage());
    demandSignature(images);
    await assert.rejects(images.service.pull({ reference }), { message: /it has no signature$/ });
    demandSignature(images, { keyPath: path.join(images.root, "absent.pub") });
    await assert.rejects(images.service.pull({ reference }), {
      message: /a key of the policy cannot be used.*ENOENT/,
    });
    for (const key of ["nonsense", signer.privateKey.export({ type: "pkcs8", format: "pem" }).toString()]) {
      demandSignature(images, {}, key);
      await assert.rejects(images.service.pull({ reference }), {
        message: /cannot be used: not a public key/,
      });
    }
  });

  test("wants every one of several signatures", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const image = await someImage();
    const reference = registry.add("app", "1", image);
    const demands = [signer, other].map(({ publicKey }) => ({
      type: "sigstoreSigned",
      keyData: Buffer.from(pem(publicKey)).toString("base64"),
    }));
    fs.writeFileSync(path.join(images.root, "policy.json"), JSON.stringify({ default: demands }));
    attach(registry, "app", image.digest, [{ reference }]);
    await assert.rejects(images.service.pull({ reference }), { message: /none of the keys has made it$/ });
    attach(registry, "app", image.digest, [{ reference }, { reference, key: other.privateKey }]);
    await images.service.pull({ reference });
  });

  test("goes on from a registry that fails with the error that the kubelet retries", async (t) => {
    const images = await openTestImages(t);
    const registry = await images.registry();
    const reference = registry.add("app", "1", await someImage());
    demandSignature(images);
    registry.behave(({ path: asked }, response) => {
      if (!asked.endsWith(".sig")) return false;
      response.writeHead(503, { "retry-after": "60" }).end();
      return true;
    });
    await assert.rejects(images.service.pull({ reference }), { message: /^RegistryUnavailable: / });
  });
});
